// SPDX-License-Identifier: Apache-2.0
// @keyv/test-suite on @keyv/redis, as its readme says.
import * as vitest from 'vitest';
import Keyv from 'keyv';
import KeyvRedis from '@keyv/redis';
import suite, { keyvIteratorTests } from '@keyv/test-suite';

const store = () => new KeyvRedis('redis://localhost:6379', { clearBatchSize: 1000 });

vitest.beforeEach(async () => {
	const keyv = new Keyv({ store: store() });

	await keyv.clear();
	await keyv.disconnect();
});
suite(vitest, Keyv, store);
keyvIteratorTests(vitest, Keyv, store);
