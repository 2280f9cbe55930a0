/** Run as a program: opens the database argv[2] and adds a row argv[3] times, to be one of several processes. */
import { openDatabase } from "../open.ts";

const [, , path = "", count = "0"] = process.argv;
const database = openDatabase(path, {
  migrations: ["CREATE TABLE t (id INTEGER PRIMARY KEY, pid INTEGER NOT NULL) STRICT"],
});
const insert = database.prepare("INSERT INTO t (pid) VALUES (?)");
for (let i = 0; i < Number(count); i++) database.transaction(() => insert.run(process.pid));
if (process.argv[4] === "die") process.kill(process.pid, "SIGKILL");
database.close();
