// mixpanel-import's export of a range to a file of JSON lines.
//
// Arguments: FOLDER URL PROJECT USERNAME SECRET FROM TO, dates inclusive; FOLDER holds node_modules. Its settings name
// regions and no host, so the address of its job is replaced.
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const [folder, url, project, acct, pass, start, end] = process.argv.slice(2);
const require = createRequire(join(resolve(folder), "package.json"));
const Job = require("mixpanel-import/components/job.js");
const run = require("mixpanel-import");

Object.defineProperty(Job.prototype, "url", { get: () => `${url}/api/2.0/export` });
const where = resolve("mixpanel_import");
const settings = { recordType: "export", start, end, where, params: { time_in_ms: "true" }, logs: false, verbose: false };
const done = await run({ acct, pass, project }, null, settings);
if (done.failed || !done.success) throw new Error(`${done.success} exported, ${done.failed} failed`);
process.exit(0);
