package config

import _ "embed"

// Reference is agensium.toml, the commented reference of all settings. It stands here again because Go embeds only from below;
// `go generate` copies it, and a test compares the two.
//
//go:generate cp ../../agensium.toml reference.toml
//go:embed reference.toml
var Reference string
