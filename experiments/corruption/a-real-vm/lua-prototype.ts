/**
 * The code pointer of a live closure, in a real VM: does the program finish, and with the right answer?
 *
 * Stands for a use after free in a C library that writes through the VM's own pointers. 8 bytes: the pointer to a
 * closure's prototype.
 * The Lua host runs programs/ruin.lua, which catches what is raised and goes on. It gives its answer, makes a full
 * collection, walks over its heap and makes further callouts.
 * Varies: mechanism, what the callout loses. Records: the fault or its absence, the bytes changed in Lua's heap, and,
 * in the aftermath, the answer.
 */
import { luaCase } from '../../support/lua.js';

export const experiment = luaCase(
  'prototype',
  "a Lua closure's pointer to its prototype overwritten",
  ['crashed'],
  'the next call of the closure, or the collector, follows the pointer',
);
