/** Spanwire over shared memory. */
export { addon as loadAddon } from './addon.ts';
