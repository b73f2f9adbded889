// Package agensium holds the files that `agensium init` hands out, embedded from where they are read and tested. The program is in
// cmd/agensium, the library in supervisor.
package agensium

import "embed"

// Files are the commented reference of all settings and the deployment examples, by their paths in this repository.
//
//go:embed agensium.toml
//go:embed examples/systemd/agensium.service
//go:embed examples/docker/Dockerfile examples/docker/dockerignore examples/docker/compose.yaml
//go:embed examples/railway/.railway/railway.ts
var Files embed.FS
