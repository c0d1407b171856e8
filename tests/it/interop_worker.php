<?php
/* A worker on libgearman, for the tests of interoperability: worker.php HOST:PORT. */
declare(strict_types=1);

$worker = new GearmanWorker();
$worker->addServers($argv[1]);
$worker->addFunction('reverse', fn (GearmanJob $job) => strrev($job->workload()));
$worker->addFunction('unique', fn (GearmanJob $job) => $job->unique());
$worker->addFunction('parts', function (GearmanJob $job) {
    $job->sendStatus(1, 2);
    $job->sendData('one,');
    $job->sendWarning('careful');
    $job->sendData('two,');
    return 'three';
});
$worker->addFunction('fail', function (GearmanJob $job) {
    $job->sendFail();
});
$worker->addFunction('throw', function (GearmanJob $job) {
    $job->sendException('no such file');
});
while (true) {
    $worker->work();
}
