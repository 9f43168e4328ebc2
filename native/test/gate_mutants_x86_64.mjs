// What gate_mutants.mjs breaks in gate_x86_64_sysv.S.

/**
 * What is broken: [what, in which part of the file, text, replacement, which test, arguments]. The text must occur in
 * that part.
 */
const FAST = ['\t.macro\tGATE', '\t.endm'],
  SLOW = ['ENTRY\ttrap_gate_slow', '.size\ttrap_gate_slow'],
  CALLBACK = ['ENTRY\ttrap_callback_gate', '.cfi_endproc'];
const SAVE = ['\t.macro\tSAVE_ARGUMENTS', '\t.endm'],
  LOAD = ['\t.macro\tLOAD_ARGUMENTS', '\t.endm'];
export const mutants = [
  ['fast: al is lost', FAST, '\tcall\t*E_TARGET(%r11)', '\txorl\t%eax, %eax\n\tcall\t*E_TARGET(%r11)'],
  ['fast: the last stack word is not copied', FAST, 'jnz\t1b', 'cmpq\t$8, %rbx\n\tjg\t1b'],
  ['fast: stack words lie one too high', FAST, 'movq\t%r15, -8(%rsp,%rbx)', 'movq\t%r15, (%rsp,%rbx)'],
  [
    'fast: the stack is misaligned at the call',
    FAST,
    '\tcall\t*E_TARGET(%r11)',
    '\tsubq\t$8, %rsp\n\tcall\t*E_TARGET(%r11)\n\taddq\t$8, %rsp',
  ],
  ['fast: rdx is lost on the way back', FAST, '2:\n', '2:\txorl\t%edx, %edx\n'],
  ['fast: xmm1 is lost on the way back', FAST, '2:\n', '2:\tpxor\t%xmm1, %xmm1\n'],
  ['fast: rax is lost on the way back', FAST, '2:\n', '2:\txorl\t%eax, %eax\n'],
  ['fast: st1 is lost on the way back', FAST, '2:\n', '2:\tffree\t%st(1)\n'],
  ['fast: not disarmed', FAST, 'movq\t$0, T_STATE(%rbp)', ''],
  ['fast: not armed', FAST, 'movq\t%r11, T_STATE(%rbp)', ''],
  ['fast: rbx is not given back', FAST, 'movq\tF_RBX(%rbp), %rbx', ''],
  ['fast: the direction flag stays as the callee left it', FAST, '\tcld', ''],
  ['slow: the direction flag stays as the callee left it', SLOW, '\tcld\n', '\n'],
  ["callback: the direction flag is the callee's", CALLBACK, '\tcld', ''],
  ['save: xmm7', SAVE, '\tmovups\t%xmm7, 112(%rsp)', ''],
  ['load: xmm0', LOAD, '\tmovups\t0(\\from), %xmm0', ''],
  ['load: r9', LOAD, '\tmovq\t168(\\from), %r9', ''],
  ['load: al', LOAD, '\tmovq\t176(\\from), %rax', '\txorl\t%eax, %eax'],
  ['slow: rdx of the result', SLOW, '\tmovq\t8(%rbx), %rdx', ''],
  ['slow: xmm1 of the result', SLOW, '\tmovups\t32(%rbx), %xmm1', '\tpxor\t%xmm1, %xmm1'],
  ['slow: one stack word too few', SLOW, 'jnz\t1b', 'cmpq\t$8, %rcx\n\tjg\t1b'],
  ['slow: its CFI does not follow rbx', SLOW, '\tCFI_FRAME DWARF_RBX\n', ''],
  ['fast: its CFI does not know the frame', FAST, '\n\tCFI_FRAME DWARF_RBP\n\t.if', '\n\t.if'],
  ['fast: its CFI does not know that rbp changed', FAST, '\t.cfi_escape 0x10, 6, 2, 0x76, F_RBP\n', ''],
  ['fast: its CFI does not know that all is back', FAST, '\t.cfi_restore_state\n\tret', '\tret'],
  ['fast: a callee that loses rbp is not noticed', FAST, 'jnz\t4f', ''],
  ['callback: rdx of the result', CALLBACK, '\tmovq\t8(%rsp), %rdx', ''],
  ['callback: xmm1 of the result', CALLBACK, '\tmovups\t32(%rsp), %xmm1', '\tpxor\t%xmm1, %xmm1'],
  ['callback: one stack word too few', CALLBACK, 'jnz\t1b', 'cmpq\t$8, %rcx\n\tjg\t1b'],
  ['callback: stack words lie one too high', CALLBACK, 'movq\t%rdx, -8(%rax,%rcx)', 'movq\t%rdx, (%rax,%rcx)'],
];
/** What the tests link besides. */
export const link = [];
