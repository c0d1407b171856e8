// A ZongJi, named by its package, writes each changed row to Redis, one pipeline for each event of the binary log.
import Redis from 'ioredis';

const [name, socketPath, redisPort] = process.argv.slice(2);
const { default: ZongJi } = await import(name);
const redis = new Redis(Number(redisPort));
const zongji = new ZongJi({ socketPath, user: 'root' });
zongji.on('error', (error) => {
  console.error(error);
  process.exit(1);
});
zongji.on('binlog', (event) => {
  if (event.getEventName() !== 'updaterows') return;
  const pipeline = redis.pipeline();
  for (const { after } of event.rows) pipeline.set(String(after.id), after.name);
  pipeline.exec();
});
zongji.start({
  serverId: 4713,
  startAtEnd: true,
  includeEvents: ['tablemap', 'updaterows'],
  includeSchema: { test: ['t'] },
});
