// What gate_mutants.mjs breaks in gate_x86_64_windows.S.

const GATE = ['ENTRY\ttrap_gate_slow', 'ENTRY\ttrap_landing'],
  LANDING = ['ENTRY\ttrap_landing', '.seh_endproc'],
  FOREIGN = ['\nforeign_call:', '.seh_endproc'];
const CALLBACK = ['ENTRY\ttrap_callback_gate', '.seh_endproc'],
  VM = ['\nvm_call:', '.seh_endproc'];
const SAVE = ['\t.macro\tSAVE_ARGUMENTS', '\t.endm'],
  LOAD = ['\t.macro\tLOAD_ARGUMENTS', '\t.endm'],
  MACHINE = ['\t.macro\tMACHINE_FRAME', '\t.endm'];
/** What is broken: [what, in which part of the file, text, replacement]. The text must occur in that part. */
export const mutants = [
  ['gate: xmm6 is not given back', GATE, '\tmovaps\t208(%rbp), %xmm6', ''],
  ['gate: xmm15 is not given back', GATE, '\tmovaps\t352(%rbp), %xmm15', ''],
  ['gate: rdi is not given back', GATE, '\tpopq\t%rdi', '\tpopq\t%rcx'],
  ['gate: rsi is not given back', GATE, '\tpopq\t%rsi', '\tpopq\t%rcx'],
  ['gate: one stack word too few', GATE, '\tjnz\t1b', '\tcmpq\t$8, %rcx\n\tjg\t1b'],
  [
    'gate: stack words lie one too high',
    GATE,
    'movq\t%rdx, HOME_BYTES-8(%r9,%rcx)',
    'movq\t%rdx, HOME_BYTES(%r9,%rcx)',
  ],
  ['gate: StackBase is not switched', GATE, '\tmovq\t%rdx, %gs:TEB_STACK_BASE', ''],
  ['gate: StackLimit is not switched', GATE, '\tmovq\t%rcx, %gs:TEB_STACK_LIMIT', ''],
  ['gate: DeallocationStack is not switched', GATE, '\tmovq\t%rcx, %gs:TEB_DEALLOCATION_STACK', ''],
  ['gate: ExceptionList is not ended', GATE, '\tmovq\t$-1, %gs:TEB_EXCEPTION_LIST', ''],
  ['foreign: rax of the result', FOREIGN, '\tmovq\t(%rdi), %rax', '\txorl\t%eax, %eax'],
  ['foreign: xmm0 of the result', FOREIGN, '\tmovups\t16(%rdi), %xmm0', '\tpxor\t%xmm0, %xmm0'],
  [
    'foreign: the stack is misaligned at the call',
    FOREIGN,
    '\tcall\t*E_TARGET(%r11)',
    '\tsubq\t$8, %rsp\n\tcall\t*E_TARGET(%r11)\n\taddq\t$8, %rsp',
  ],
  ['foreign: the direction flag stays as the callee left it', FOREIGN, '\tcld', '\tnop'],
  ['foreign: StackBase is not put back', FOREIGN, '\tmovq\t%rdx, %gs:TEB_STACK_BASE', ''],
  ['foreign: StackLimit is not put back', FOREIGN, '\tmovq\t%r8, %gs:TEB_STACK_LIMIT', ''],
  ['foreign: DeallocationStack is not put back', FOREIGN, '\tmovq\t%r9, %gs:TEB_DEALLOCATION_STACK', ''],
  ['foreign: ExceptionList is not put back', FOREIGN, '\tmovq\t%r10, %gs:TEB_EXCEPTION_LIST', ''],
  ['foreign: nobody ends an unwind', FOREIGN, '\t.seh_handler trap_barrier, @except, @unwind\n', ''],
  ['foreign: the unwinder does not find the machine frame', FOREIGN, '\t.seh_setframe %rbx, 0\n', ''],
  ['machine frame: leads nowhere', MACHINE, '\tmovq\t%rcx, (\\at)', '\tmovq\t$0, (\\at)'],
  ['landing: mxcsr', LANDING, '\tldmxcsr\tF_MXCSR(%r12)', ''],
  ['landing: the x87 stack stays full', LANDING, '\tfninit', ''],
  ['landing: StackBase is not put back', LANDING, '\tmovq\t%rdx, %gs:TEB_STACK_BASE', ''],
  ['landing: StackLimit is not put back', LANDING, '\tmovq\t%rdx, %gs:TEB_STACK_LIMIT', ''],
  ['landing: a result that is not 0', LANDING, '\txorl\t%eax, %eax', '\tmovl\t$1, %eax'],
  ['callback: one stack word too few', CALLBACK, '\tjnz\t1b', '\tcmpq\t$8, %rcx\n\tjg\t1b'],
  ["callback: StackBase is not the VM's", CALLBACK, '\tmovq\t%rdx, %gs:TEB_STACK_BASE', ''],
  ["callback: StackLimit is not the VM's", CALLBACK, '\tmovq\t%rcx, %gs:TEB_STACK_LIMIT', ''],
  ["callback: the direction flag is the callee's", CALLBACK, '\tcld', '\tnop'],
  ["callback: StackLimit is not the callee's again", VM, '\tmovq\t%rcx, %gs:TEB_STACK_LIMIT', ''],
  ["callback: ExceptionList is not the callee's again", VM, '\tmovq\t%r9, %gs:TEB_EXCEPTION_LIST', ''],
  ['callback: xmm0 of the result', VM, '\tmovups\t192(%rbp), %xmm0', '\tpxor\t%xmm0, %xmm0'],
  ["callback: nobody ends the VM's exception", VM, '\t.seh_handler trap_callback_barrier, @except, @unwind\n', ''],
  ['save: xmm3', SAVE, '\tmovups\t%xmm3, 80(\\base)', ''],
  ['load: r9', LOAD, '\tmovq\t152(\\base), %r9', ''],
  ['load: xmm0', LOAD, '\tmovups\t32(\\base), %xmm0', ''],
];
/** What a test is linked with besides. */
export const link = ['-static', '-lsynchronization', '-lpthread'];
export const extension = '.exe';
