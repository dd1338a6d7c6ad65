import { findViolations } from './boundaries.mjs';
import { root } from './workspace.mjs';

const violations = findViolations(root);
for (const violation of violations) console.error(violation);
process.exitCode = violations.length > 0 ? 1 : 0;
