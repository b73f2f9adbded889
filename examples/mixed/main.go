// Command mixed serves one application in three languages: tasks.py in Python, the handlers below in Go, and a program that
// agensium.toml names. Who sends a task does not notice which it is.
package main

import (
	"context"
	"fmt"
	"hash/crc32"
	"os"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/supervisor"
)

func main() {
	mux := celery.NewMux()
	celery.Handle(mux, "docs.checksum", checksum)
	celery.Handle(mux, "docs.report", report)
	if err := supervisor.Run(context.Background(), supervisor.Options{Handlers: mux}); err != nil {
		fmt.Fprintln(os.Stderr, "mixed:", err)
		os.Exit(1)
	}
}

func checksum(text string) map[string]any {
	return map[string]any{"crc32": crc32.ChecksumIEEE([]byte(text))}
}

// report is the body of a chord: it gets what the tasks of the header returned, in their order.
func report(parts []map[string]any) map[string]any {
	all := map[string]any{"parts": len(parts)}
	for _, part := range parts {
		for key, value := range part {
			all[key] = value
		}
	}
	return all
}
