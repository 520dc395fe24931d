// Loaded into every process of the CLI: only the local cloud at $LINK_PEER_CLOUD may be reached. Any other connection, or a
// look-up of a name, is recorded in $OFFLINE_RECORD and fails.
const { appendFileSync } = require("fs");
const { Socket } = require("net");

const cloud = process.env.LINK_PEER_CLOUD && new URL(process.env.LINK_PEER_CLOUD);
const refuse = (name, given) => {
  appendFileSync(process.env.OFFLINE_RECORD, `${name} ${JSON.stringify(given)}\n`);
  throw new Error(`offline: ${name}`);
};

const { connect } = Socket.prototype;
Socket.prototype.connect = function (...given) {
  const { host, port } = Array.isArray(given[0]) ? given[0][0] : given[0];
  if (!cloud || host !== cloud.hostname || Number(port) !== Number(cloud.port)) refuse("connect", { host, port });
  return connect.apply(this, given);
};
require("dns").lookup = (...given) => refuse("lookup", given[0]);
