// The worker and its Redis on Railway, as `railway config plan` and `railway config apply` take it. It stands in place of railway.toml, which
// Railway reads until 2026-12-01 only. `railway up` deploys this directory; to deploy from GitHub give the service a source.
import { defineRailway, project, redis, service } from "railway/iac";

// How long a deploy waits for running tasks. Railway's own default is 0: killed at once. agensium reads the variable and puts back what
// still runs shortly before.
const drainingSeconds = 120;

export default defineRailway(() => {
  const broker = redis("Redis");

  const worker = service("worker", {
    build: { builder: "DOCKERFILE", dockerfilePath: "Dockerfile" },
    // The new deployment takes over when it consumes.
    healthcheck: "/readyz",
    healthcheckTimeout: 180,
    replicas: 1,
    deploy: {
      drainingSeconds,
      overlapSeconds: 0,
      restartPolicyType: "ALWAYS",
      // What the kernel enforces. agensium sees it and starts as many children as fit.
      limitOverride: { containers: { cpu: 2, memoryBytes: 2 * 1024 ** 3 } },
    },
    env: {
      // By the private network: nothing is billed for it, and nothing of it is on the internet.
      REDIS_URL: broker.env.REDIS_URL,
      RAILWAY_DEPLOYMENT_DRAINING_SECONDS: String(drainingSeconds),
      CELERY_WORKER_CONCURRENCY: "4",
      PORT: "8080",
    },
  });

  return project("shop", { resources: [broker, worker] });
});
