/**
 * Does OpenSSL give the same bytes under every mechanism?
 *
 * A digest of a real file, a key derived from a password, and random bytes, which are asked for and not compared.
 * Varies: mechanism, hardening. Records: the digest and the derived key.
 */
import type { HonestCase } from '../../src/experiment/index.js';

export const experiment: HonestCase = {
  kind: 'honest',
  summary: 'OpenSSL: a digest, a derived key, random bytes',
  libraries: ['libcrypto.so.3'],
  run(trial) {
    const crypto = trial.library('libcrypto.so.3', true); // node has an OpenSSL of its own
    const sha256 = crypto.func('void *EVP_sha256(void)')();
    const { bytes } = trial.file;
    const digest = Buffer.alloc(32);
    const made = crypto.func(
      'int EVP_Digest(const uint8_t *bytes, size_t count, uint8_t *digest, unsigned int *size, void *type, void ' +
        '*engine)',
    )(bytes, bytes.length, digest, null, sha256, null);
    const key = Buffer.alloc(32);
    const derived = crypto.func(
      'int PKCS5_PBKDF2_HMAC(const char *word, int size, const uint8_t *salt, int salt_size, int rounds, void ' +
        '*digest, int key_size, uint8_t *key)',
    )('turnkey', 7, digest, 16, 100, sha256, key.length, key);
    const random = crypto.func('int RAND_bytes(uint8_t *bytes, int count)')(Buffer.alloc(16), 16);
    if (made !== 1 || derived !== 1 || random !== 1) throw new Error('OpenSSL answered an error');
    trial.put(digest);
    trial.put(key);
    trial.count(4);
  },
};
