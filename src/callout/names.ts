/** Names of signals and of what si_code says. From <bits/signum-*.h>, <asm-generic/siginfo.h>; x86-64 Linux. */

const SIGNALS: Readonly<Record<number, string>> = {
  4: 'SIGILL',
  5: 'SIGTRAP',
  6: 'SIGABRT',
  7: 'SIGBUS',
  8: 'SIGFPE',
  11: 'SIGSEGV',
  24: 'SIGXCPU',
  25: 'SIGXFSZ',
  31: 'SIGSYS',
};

/* si_code values that any signal may carry. */
const GENERAL_CODES: Readonly<Record<number, string>> = {
  0: 'SI_USER',
  0x80: 'SI_KERNEL',
  [-1]: 'SI_QUEUE',
  [-2]: 'SI_TIMER',
  [-3]: 'SI_MESGQ',
  [-4]: 'SI_ASYNCIO',
  [-5]: 'SI_SIGIO',
  [-6]: 'SI_TKILL',
};

const CODES: Readonly<Record<number, Readonly<Record<number, string>>>> = {
  4: {
    1: 'ILL_ILLOPC',
    2: 'ILL_ILLOPN',
    3: 'ILL_ILLADR',
    4: 'ILL_ILLTRP',
    5: 'ILL_PRVOPC',
    6: 'ILL_PRVREG',
    7: 'ILL_COPROC',
    8: 'ILL_BADSTK',
    9: 'ILL_BADIADDR',
  },
  5: { 1: 'TRAP_BRKPT', 2: 'TRAP_TRACE', 3: 'TRAP_BRANCH', 4: 'TRAP_HWBKPT', 5: 'TRAP_UNK', 6: 'TRAP_PERF' },
  6: {},
  7: { 1: 'BUS_ADRALN', 2: 'BUS_ADRERR', 3: 'BUS_OBJERR', 4: 'BUS_MCEERR_AR', 5: 'BUS_MCEERR_AO' },
  8: {
    1: 'FPE_INTDIV',
    2: 'FPE_INTOVF',
    3: 'FPE_FLTDIV',
    4: 'FPE_FLTOVF',
    5: 'FPE_FLTUND',
    6: 'FPE_FLTRES',
    7: 'FPE_FLTINV',
    8: 'FPE_FLTSUB',
    14: 'FPE_FLTUNK',
    15: 'FPE_CONDTRAP',
  },
  11: {
    1: 'SEGV_MAPERR',
    2: 'SEGV_ACCERR',
    3: 'SEGV_BNDERR',
    4: 'SEGV_PKUERR',
    5: 'SEGV_ACCADI',
    6: 'SEGV_ADIDERR',
    7: 'SEGV_ADIPERR',
    8: 'SEGV_MTEAERR',
    9: 'SEGV_MTESERR',
    10: 'SEGV_CPERR',
  },
  31: { 1: 'SYS_SECCOMP', 2: 'SYS_USER_DISPATCH' },
};

/** 'SIGSEGV' for 11; 'signal 99' for what has no name here. */
export function signalName(signal: number): string {
  return SIGNALS[signal] ?? `signal ${signal}`;
}

/** 'SEGV_PKUERR' for (11, 4); 'si_code 77' for what has no name here. */
export function siCodeName(signal: number, code: number): string {
  return CODES[signal]?.[code] ?? GENERAL_CODES[code] ?? `si_code ${code}`;
}
