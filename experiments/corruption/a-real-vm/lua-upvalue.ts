/**
 * A variable that a closure closes over, in a real VM: does the program finish, and with the right answer?
 *
 * Stands for a stray store to a counter in the VM's heap. 4 bytes of the value of a closed upvalue.
 * The Lua host runs programs/ruin.lua, which catches what is raised and goes on. It gives its answer, makes a full
 * collection, walks over its heap and makes further callouts.
 * Varies: mechanism, what the callout loses. Records: the fault or its absence, the bytes changed in Lua's heap, and,
 * in the aftermath, the answer.
 */
import { luaCase } from '../../support/lua.js';

export const experiment = luaCase(
  'upvalue',
  'the variable of a Lua closure overwritten',
  ['damaged'],
  'the variable has another value, and the answer is wrong',
);
