// Package examples holds the deployment files that `agensium init` hands out, embedded from where they are read and tested.
package examples

import "embed"

// Files are the deployment examples, by their paths below this folder.
//
//go:embed systemd/agensium.service
//go:embed docker/Dockerfile docker/dockerignore docker/compose.yaml
//go:embed railway/.railway/railway.ts
var Files embed.FS
