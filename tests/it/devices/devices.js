// Devices written with MQTT.js: `devices.js SCENARIO…`, one after the other. Ends with 0 if all was as it should be.
//
// Environment: MQTT is HOST:PORT of the MQTT listener, HTTP_ADDRESS that of the HTTP listener, TRANSPORT is `tcp` or `websockets`; channels
// begin with BASE. ORIGIN is what a browser would say that the page comes from.
'use strict';

const assert = require('node:assert');
const { randomUUID } = require('node:crypto');
const { setTimeout: sleep } = require('node:timers/promises');
const mqtt = require('mqtt');

const PATIENCE = 40_000;
const VERSIONS = [4, 5];

const place = () => `${process.env.BASE}/${randomUUID()}`;

const url = () =>
    process.env.TRANSPORT === 'websockets' ? `ws://${process.env.HTTP_ADDRESS}/mqtt` : `mqtt://${process.env.MQTT}`;

function within(promise, what) {
    const limit = sleep(PATIENCE, undefined, { ref: false }).then(() => Promise.reject(new Error(`${what}: not in time`)));
    return Promise.race([promise, limit]);
}

// A client, and what it gets.
class Device {
    constructor(version, options = {}) {
        this.messages = [];
        this.waiting = [];
        const { session, ...others } = options;
        const kept = session === undefined ? {} : { clean: false };
        if (session !== undefined && version === 5) {
            kept.properties = { sessionExpiryInterval: session };
        }
        this.options = {
            protocolVersion: version,
            clientId: randomUUID(),
            reconnectPeriod: 0,
            wsOptions: process.env.ORIGIN ? { origin: process.env.ORIGIN } : {},
            ...kept,
            ...others,
            properties: { ...kept.properties, ...others.properties },
        };
    }

    async connect() {
        this.client = mqtt.connect(url(), this.options);
        this.client.on('error', () => {});
        this.client.on('message', (topic, payload, packet) => {
            const next = this.waiting.shift();
            const message = { topic, payload, packet };
            next ? next(message) : this.messages.push(message);
        });
        this.connack = await within(new Promise((done) => this.client.once('connect', done)), 'CONNACK');
        return this;
    }

    // What is granted.
    async subscribe(topic, options = { qos: 1 }) {
        const granted = await within(this.client.subscribeAsync(topic, options), 'SUBACK');
        return granted.map(({ qos }) => qos);
    }

    publish(topic, payload, options = { qos: 1 }) {
        return within(this.client.publishAsync(topic, payload, options), 'its acknowledgement');
    }

    next() {
        const ready = this.messages.shift();
        return ready ? Promise.resolve(ready) : within(new Promise((done) => this.waiting.push(done)), 'a message');
    }

    async take(count) {
        const taken = [];
        while (taken.length < count) {
            taken.push(await this.next());
        }
        return taken;
    }

    async nothing(milliseconds = 500) {
        await sleep(milliseconds);
        assert.deepStrictEqual(this.messages.map(({ topic, payload }) => [topic, payload.toString()]), []);
    }

    end() {
        return within(this.client.endAsync(), 'the end');
    }

    // The connection breaks, without a DISCONNECT.
    async vanish() {
        const closed = new Promise((done) => this.client.once('close', done));
        this.client.stream.destroy();
        await within(closed, 'the end');
    }
}

const numbers = (count) => Array.from({ length: count }, (_, number) => String(number));
const texts = (messages) => messages.map(({ payload }) => payload.toString());

const scenarios = {
    // Each QoS both ways, between versions; of QoS 2 each once, in order.
    async qualities() {
        for (const version of VERSIONS) {
            const topic = place();
            const reader = await new Device(version).connect();
            const writer = await new Device(9 - version).connect();
            for (const asked of [0, 1, 2]) {
                assert.deepStrictEqual(await reader.subscribe(`${topic}/${asked}/+`, { qos: asked }), [asked]);
                for (const qos of [0, 1, 2]) {
                    const payload = Buffer.from([...Array(256).keys(), qos]);
                    await writer.publish(`${topic}/${asked}/a`, payload, { qos });
                    const message = await reader.next();
                    assert.strictEqual(message.topic, `${topic}/${asked}/a`);
                    assert.ok(message.payload.equals(payload));
                    assert.strictEqual(message.packet.qos, Math.min(qos, asked));
                }
            }
            await Promise.all(numbers(300).map((number) => writer.publish(`${topic}/2/many`, number, { qos: 2 })));
            assert.deepStrictEqual(texts(await reader.take(300)), numbers(300));
            await reader.nothing();
            await Promise.all([reader.end(), writer.end()]);
        }
    },

    async will() {
        for (const version of VERSIONS) {
            const topic = place();
            const watcher = await new Device(5).connect();
            await watcher.subscribe(`${topic}/#`);
            const will = { topic: `${topic}/gone`, payload: Buffer.from('it is gone'), qos: 2, retain: false };
            await (await new Device(version, { will }).connect()).end();
            await watcher.nothing();
            await (await new Device(version, { will }).connect()).vanish();
            const message = await watcher.next();
            assert.strictEqual(message.payload.toString(), 'it is gone');
            await watcher.end();
        }
    },

    // What was published while it was away it gets when it is back; what it has under way is sent again by itself.
    async resumption() {
        for (const version of VERSIONS) {
            const topic = place();
            const clientId = randomUUID();
            const writer = await new Device(5).connect();
            let device = await new Device(version, { clientId, session: 3600 }).connect();
            assert.strictEqual(device.connack.sessionPresent, false);
            await device.subscribe(topic, { qos: 2 });
            for (const how of ['end', 'vanish']) {
                await device[how]();
                await Promise.all(numbers(50).map((number) => writer.publish(topic, number, { qos: 2 })));
                device = await new Device(version, { clientId, session: 3600 }).connect();
                assert.strictEqual(device.connack.sessionPresent, true);
                assert.deepStrictEqual(texts(await device.take(50)), numbers(50));
                await device.nothing();
            }
            await Promise.all([device.end(), writer.end()]);
        }
    },

    // Connections break while hundreds of publishes are under way: the client connects again and sends again what is not confirmed.
    async interruption() {
        for (const version of VERSIONS) {
            const topic = place();
            const reader = await new Device(5).connect();
            await reader.subscribe(`${topic}/+`, { qos: 2 });
            const writer = await new Device(version, { session: 3600, reconnectPeriod: 50 }).connect();
            const sent = { 1: [], 2: [] };
            for (let round = 0; round < 5; round += 1) {
                const under = numbers(100).flatMap((number) =>
                    [1, 2].map((qos) => {
                        const text = `${round}-${number}`;
                        sent[qos].push(text);
                        return writer.publish(`${topic}/${qos}`, text, { qos });
                    }),
                );
                const connected = new Promise((done) => writer.client.once('connect', done));
                await under[round * 20];
                writer.client.stream.destroy();
                await within(connected, 'another connection');
                await Promise.all(under);
            }
            const got = { 1: new Map(), 2: new Map() };
            while (got[1].size < sent[1].length || got[2].size < sent[2].length) {
                const message = await reader.next();
                const seen = got[message.topic.at(-1)];
                seen.set(message.payload.toString(), (seen.get(message.payload.toString()) ?? 0) + 1);
            }
            await sleep(500);
            assert.deepStrictEqual([...got[2].keys()].sort(), sent[2].sort());
            const twice = [1, 2].map((qos) => [...got[qos].values()].filter((count) => count > 1).length);
            console.log(`${version}: ${sent[1].length} of each QoS; of QoS 1 ${twice[0]} came twice, of QoS 2 ${twice[1]}`);
            assert.strictEqual(twice[1], 0);
            await Promise.all([reader.end(), writer.end()]);
        }
    },

    // What a PUBLISH, a SUBSCRIBE and a CONNECT of MQTT 5 may have.
    async properties() {
        const topic = place();
        const reader = await new Device(5, { properties: { topicAliasMaximum: 5 } }).connect();
        const { receiveMaximum, topicAliasMaximum, maximumPacketSize } = reader.connack.properties;
        assert.strictEqual(topicAliasMaximum, 10);
        assert.ok(receiveMaximum > 0 && maximumPacketSize >= 65536, JSON.stringify(reader.connack.properties));
        await reader.subscribe(`${topic}/#`, { qos: 1, properties: { subscriptionIdentifier: 268_435_455 } });
        const writer = await new Device(5, { autoAssignTopicAlias: true }).connect();
        const properties = {
            payloadFormatIndicator: true,
            contentType: 'text/plain',
            responseTopic: `${topic}/answer`,
            correlationData: Buffer.from('question 1'),
            userProperties: { 'X-Unit': 'C' },
        };
        await writer.publish(`${topic}/a`, '21', { qos: 1, properties: { ...properties, messageExpiryInterval: 100 } });
        const { packet, payload } = await reader.next();
        assert.strictEqual(payload.toString(), '21');
        assert.ok(packet.properties.messageExpiryInterval > 90);
        const { messageExpiryInterval, topicAlias, ...others } = packet.properties; // aliases are between two neighbours
        assert.deepStrictEqual(
            { ...others, userProperties: { ...others.userProperties } },
            { ...properties, subscriptionIdentifier: 268_435_455 },
        );
        // More topics than there are aliases, each twice.
        const topics = numbers(25).flatMap((number) => [`${topic}/${number}`, `${topic}/${number}`]);
        for (const each of topics) {
            await writer.publish(each, each, { qos: 1 });
        }
        const got = await reader.take(topics.length);
        assert.deepStrictEqual(got.map((message) => message.topic).sort(), [...topics].sort());
        assert.ok(got.every((message) => message.topic === message.payload.toString()));
        await Promise.all([reader.end(), writer.end()]);
    },

    // Reasons are those of the standard.
    async reasons() {
        const device = await new Device(5).connect();
        await assert.rejects(device.publish('$SYS/x', 'no'), ({ code }) => code === 0x90);
        const contentType = 'application/cloudevents+json';
        await assert.rejects(device.publish(place(), '{', { qos: 2, properties: { contentType } }), ({ code }) => code === 0x99);
        await assert.rejects(device.subscribe('nowhere/#'), ({ packet }) => packet.granted[0] === 0x8f);
        const taken = new Promise((done) => device.client.once('disconnect', done));
        const other = await new Device(5, { clientId: device.options.clientId }).connect();
        assert.strictEqual((await within(taken, 'DISCONNECT')).reasonCode, 0x8e);
        await other.end();
    },
};

async function main() {
    for (const name of process.argv.slice(2)) {
        const begun = Date.now();
        await scenarios[name]();
        console.log(`${name}: ${(Date.now() - begun) / 1000} s`);
    }
    process.exit(0);
}

main().catch((problem) => {
    console.error(problem);
    process.exit(1);
});
