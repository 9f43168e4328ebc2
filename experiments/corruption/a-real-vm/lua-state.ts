/**
 * The lua_State itself, in a real VM: does the program finish, and with the right answer?
 *
 * Stands for an overrun that meets the interpreter's own structure: stack pointers, call chain, global state. 64 bytes
 * of the running lua_State.
 * The Lua host runs programs/ruin.lua, which catches what is raised and goes on. It gives its answer, makes a full
 * collection, walks over its heap and makes further callouts.
 * Varies: mechanism, what the callout loses. Records: the fault or its absence, the bytes changed in Lua's heap, and,
 * in the aftermath, the answer.
 */
import { luaCase } from '../../support/lua.js';

export const experiment = luaCase(
  'state',
  '64 bytes of the lua_State overwritten',
  ['crashed'],
  "the interpreter's own pointers are gone when the callout returns",
);
