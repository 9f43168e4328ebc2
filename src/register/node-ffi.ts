/** `node:ffi`, which Node has from 26 on behind a flag, is not guarded yet: a program that imports it is told so. */
import module from 'node:module';

/** Node's synchronous hooks, which every Node with node:ffi has. */
interface SyncHooks {
  registerHooks?(hooks: {
    resolve(specifier: string, context: unknown, next: (specifier: string, context: unknown) => unknown): unknown;
  }): void;
}

/** From now on the first import or require of node:ffi warns. */
export function watchForNodeFfi(): void {
  if (!module.isBuiltin('node:ffi')) return;
  let warned = false;
  (module as unknown as SyncHooks).registerHooks?.({
    resolve(specifier, context, next) {
      if (specifier === 'node:ffi' && !warned) {
        warned = true;
        process.emitWarning('node:ffi is not guarded yet: its calls do not pass Turnkey. koffi is guarded', {
          code: 'TURNKEY_NODE_FFI',
        });
      }
      return next(specifier, context);
    },
  });
}
