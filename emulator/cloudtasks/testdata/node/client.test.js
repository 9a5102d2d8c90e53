// Google's Node clients as programs use them: @google-cloud/tasks, every version
// over both of its transports, and firebase-admin's task queues. The emulator is
// where CLOUD_TASKS_EMULATOR_HOST says, a worker at WORKER_URL.
import assert from 'node:assert/strict';
import {after, test} from 'node:test';
import {v2, v2beta2, v2beta3} from '@google-cloud/tasks';
import {initializeApp} from 'firebase-admin/app';
import {getFunctions} from 'firebase-admin/functions';
import {PassThroughClient} from 'google-auth-library';
import {grpc} from 'google-gax';

const [apiEndpoint, port] = process.env.CLOUD_TASKS_EMULATOR_HOST.split(':');
const worker = process.env.WORKER_URL;
const projectId = 'node-project';
const location = `projects/${projectId}/locations/us-central1`;
const transports = {
  grpc: {sslCreds: grpc.credentials.createInsecure()},
  // The fallback is meant for browsers: it wants to be told that there is no
  // TLS, and a client that has no credentials.
  rest: {fallback: true, protocol: 'http', authClient: new PassThroughClient()},
};
const code = (number) => (error) => error.code === number;

for (const [transport, options] of Object.entries(transports)) {
  const all = {apiEndpoint, port: Number(port), projectId, ...options};
  const client = new v2.CloudTasksClient(all);
  const beta3 = new v2beta3.CloudTasksClient(all);
  const beta2 = new v2beta2.CloudTasksClient(all);
  after(() => Promise.all([client, beta3, beta2].map((c) => c.close())));
  const check = (name, f) => test(`${transport}: ${name}`, {timeout: 30_000}, f);
  const queue = `${location}/queues/${transport}`;

  check('a queue through its life', async () => {
    const [created] = await client.createQueue({parent: location, queue: {name: queue, rateLimits: {maxDispatchesPerSecond: 5}}});
    assert.equal(created.state, 'RUNNING');
    assert.equal(created.rateLimits.maxBurstSize, 5);
    const [updated] = await client.updateQueue({
      queue: {name: queue, retryConfig: {maxDoublings: 0, maxAttempts: 7}},
      updateMask: {paths: ['retry_config.max_doublings', 'retry_config.max_attempts']},
    });
    assert.equal(updated.retryConfig.maxDoublings, 0);
    assert.equal(updated.retryConfig.maxAttempts, 7);
    assert.equal(updated.rateLimits.maxDispatchesPerSecond, 5);
    const [paused] = await client.pauseQueue({name: queue});
    assert.equal(paused.state, 'PAUSED');
    const [listed] = await client.listQueues({parent: location, filter: 'state: PAUSED'});
    assert.ok(listed.some((q) => q.name === queue));
    await assert.rejects(client.getQueue({name: `${queue}-missing`}), code(5));
    await assert.rejects(client.createQueue({parent: location, queue: {name: queue}}), code(6));
  });

  check('tasks are created, read, listed and deleted', async () => {
    const name = `${queue}/tasks/one`;
    const httpRequest = {url: `${worker}/work`, httpMethod: 'PUT', body: Buffer.from('payload').toString('base64'), headers: {'X-Own': '1'}};
    const [created] = await client.createTask({parent: queue, task: {name, httpRequest, scheduleTime: {seconds: 2_000_000, nanos: 0}}});
    assert.equal(created.httpRequest.headers['User-Agent'], 'Google-Cloud-Tasks');
    const [full] = await client.getTask({name, responseView: 'FULL'});
    assert.equal(Buffer.from(full.httpRequest.body, 'base64').toString(), 'payload');
    const [basic] = await client.getTask({name});
    assert.equal(basic.httpRequest.body.length, 0);
    for (let i = 0; i < 5; i++) {
      await client.createTask({parent: queue, task: {httpRequest}});
    }
    const seen = [];
    for await (const task of client.listTasksAsync({parent: queue, pageSize: 2})) {
      seen.push(task.name);
    }
    assert.equal(seen.length, 6);
    await assert.rejects(client.createTask({parent: queue, task: {name, httpRequest}}), code(6));
    await client.deleteTask({name});
    await assert.rejects(client.getTask({name}), code(5));
    await client.purgeQueue({name: queue});
    const [left] = await client.listTasks({parent: queue});
    assert.equal(left.length, 0);
  });

  check('policies have etags', async () => {
    const [policy] = await client.getIamPolicy({resource: queue});
    policy.bindings.push({role: 'roles/viewer', members: ['user:a@example.com']});
    const [stored] = await client.setIamPolicy({resource: queue, policy});
    assert.equal(stored.bindings[0].role, 'roles/viewer');
    await assert.rejects(client.setIamPolicy({resource: queue, policy}), code(10));
    const [granted] = await client.testIamPermissions({resource: `${queue}-missing`, permissions: ['cloudtasks.tasks.create']});
    assert.deepEqual(granted.permissions, []);
  });

  check('v2beta3 has statistics for those who ask', async () => {
    const [plain] = await beta3.getQueue({name: queue});
    assert.equal(plain.stats, null);
    assert.equal(plain.type, 'PUSH');
    const [measured] = await beta3.getQueue({name: queue, readMask: {paths: ['name', 'stats']}});
    assert.equal(Number(measured.stats.tasksCount), 0);
    assert.equal(measured.rateLimits, null);
  });

  check('v2beta2 leases and acknowledges', async () => {
    const pull = `${queue}-pull`;
    await beta2.createQueue({parent: location, queue: {name: pull, pullTarget: {}}});
    const payload = Buffer.from('payload').toString('base64');
    await beta2.createTask({parent: pull, task: {name: `${pull}/tasks/a`, pullMessage: {payload, tag: 'red'}}});
    await beta2.createTask({parent: pull, task: {name: `${pull}/tasks/b`, pullMessage: {payload, tag: 'blue'}}});
    const [leased] = await beta2.leaseTasks({parent: pull, maxTasks: 5, leaseDuration: {seconds: 60}, filter: 'tag=red', responseView: 'FULL'});
    assert.deepEqual(leased.tasks.map((t) => t.name), [`${pull}/tasks/a`]);
    const [task] = leased.tasks;
    assert.equal(Buffer.from(task.pullMessage.payload, 'base64').toString(), 'payload');
    const [renewed] = await beta2.renewLease({name: task.name, scheduleTime: task.scheduleTime, leaseDuration: {seconds: 120}});
    await assert.rejects(beta2.acknowledgeTask({name: task.name, scheduleTime: task.scheduleTime}), code(9));
    await beta2.acknowledgeTask({name: task.name, scheduleTime: renewed.scheduleTime});
    await assert.rejects(beta2.getTask({name: task.name}), code(5));
  });
}

test('firebase-admin enqueues and deletes', {timeout: 30_000}, async () => {
  const all = {apiEndpoint, port: Number(port), projectId, ...transports.grpc};
  const client = new v2.CloudTasksClient(all);
  const beta3 = new v2beta3.CloudTasksClient(all); // v2 has no httpTarget in this client
  const queue = `${location}/queues/hello`;
  const at = new URL(worker);
  await beta3.createQueue({parent: location, queue: {name: queue, httpTarget: {uriOverride: {
    scheme: 'HTTP', host: at.hostname, port: Number(at.port), pathOverride: {path: '/hello'},
  }}}});
  await client.pauseQueue({name: queue});
  const tasks = getFunctions(initializeApp({projectId})).taskQueue('hello');
  await tasks.enqueue({n: 1}, {id: 'own', uri: `${worker}/own`, dispatchDeadlineSeconds: 60, scheduleDelaySeconds: 5});
  await tasks.enqueue({n: 2}, {id: 'functions'}); // to the URL of the queue
  const [own] = await client.getTask({name: `${queue}/tasks/own`, responseView: 'FULL'});
  assert.equal(own.httpRequest.url, `${worker}/own`);
  assert.deepEqual(JSON.parse(own.httpRequest.body.toString()), {data: {n: 1}});
  assert.equal(own.httpRequest.oidcToken.serviceAccountEmail, 'emulated-service-acct@email.com');
  const [functions] = await client.getTask({name: `${queue}/tasks/functions`});
  assert.equal(functions.httpRequest.url, `${worker}/hello`);
  await assert.rejects(tasks.enqueue({n: 1}, {id: 'own', uri: worker}), /already exists/);
  await tasks.delete('own');
  await assert.rejects(client.getTask({name: `${queue}/tasks/own`}), code(5));
  await Promise.all([client.close(), beta3.close()]);
});
