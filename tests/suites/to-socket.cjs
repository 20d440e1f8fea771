// SPDX-License-Identifier: Apache-2.0
// Loaded before a test suite of npm (node --require): what connects to port 6379 of this machine, as the suites do
// without saying so, connects to the Unix socket PURSER_SUITE_SOCKET instead.
'use strict';
const net = require('node:net');

const path = process.env.PURSER_SUITE_SOCKET;
const here = new Set([undefined, '', 'localhost', '127.0.0.1', '::1']);
const connect = net.Socket.prototype.connect;

net.Socket.prototype.connect = function (...args) {
	// net.connect() hands over an array of options and listener that it has normalised itself
	const list = Array.isArray(args[0]) ? args[0] : args;
	const o = list[0];

	if (o && typeof o === 'object' && Number(o.port) === 6379 && here.has(o.host)) {
		list[0] = { ...o, path };
		delete list[0].port;
		delete list[0].host;
	}
	return connect.apply(this, args);
};

// Suites unref() their connections: the loop would end before a slow reply has come.  (node --test-force-exit)
if (process.env.NODE_TEST_CONTEXT)
	setInterval(() => {}, 1000);
