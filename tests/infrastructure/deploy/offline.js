// Loaded into every process of the CLI: a connection, or a look-up of a name, is recorded in $OFFLINE_RECORD and fails.
const { appendFileSync } = require("fs");

const refuse = (name) => (...given) => {
  appendFileSync(process.env.OFFLINE_RECORD, `${name} ${JSON.stringify(given[0])}\n`);
  throw new Error(`offline: ${name}`);
};

require("net").Socket.prototype.connect = refuse("connect");
require("dns").lookup = refuse("lookup");
