/**
 * Does libcurl fetch the same bytes under every mechanism?
 *
 * A server of node's own gives a real file over a local socket; libcurl fetches it in an asynchronous callout and
 * writes it to a temporary file: sockets, polling, signal handlers, timers.
 * Varies: mechanism, hardening. Records: what was fetched.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { ForeignFunction, HonestCase } from '../../src/experiment/index.js';

const URL_OPTION = 10002;
const WRITEDATA = 10001;
const UNIX_SOCKET_PATH = 10231;

interface Asynchronous {
  promise(...args: unknown[]): Promise<unknown>;
}

export const experiment: HonestCase = {
  kind: 'honest',
  summary: 'libcurl: a real file fetched from a local server',
  libraries: ['libcurl.so.4'],
  async run(trial) {
    const folder = mkdtempSync(join(tmpdir(), 'turnkey-curl-'));
    const [socket, fetched] = [join(folder, 'socket'), join(folder, 'fetched')];
    const server = createServer((_, response) => response.end(trial.file.bytes));
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    const curl = trial.library('libcurl.so.4', true);
    const c = trial.library('libc.so.6');
    const out = c.func('void *fopen(const char *path, const char *mode)')(fetched, 'w');
    const handle = curl.func('void *curl_easy_init(void)')();
    const set = curl.func('int curl_easy_setopt(void *handle, int option, ...)');
    const perform = curl.func('int curl_easy_perform(void *handle)') as ForeignFunction & Asynchronous;
    set(handle, URL_OPTION, 'str', 'http://localhost/');
    set(handle, UNIX_SOCKET_PATH, 'str', socket);
    set(handle, WRITEDATA, 'void *', out);
    const answer = await perform.promise(handle);
    curl.func('void curl_easy_cleanup(void *handle)')(handle);
    c.func('int fclose(void *file)')(out);
    server.close();
    if (answer !== 0) throw new Error(`curl_easy_perform answered ${String(answer)}`);
    trial.put(readFileSync(fetched));
    trial.count(8);
    rmSync(folder, { recursive: true });
  },
};
