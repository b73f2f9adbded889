package python

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/agensium/agensium/pool/child"
)

const supervisorEnv = "AGENSIUM_TEST_SUPERVISOR"

func TestChildrenDieWithTheSupervisor(t *testing.T) {
	python := interpreter(t, latest)
	client := startClient(t, python, "testdata/apps", "whole")
	file := filepath.Join(t.TempDir(), "task")
	if err := os.WriteFile(file, client.one(t, `soft_uncaught.delay(600)`).Raw, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), supervisorEnv+"="+python, supervisorEnv+"_TASK="+file)
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids [2]int
	if _, err := fmt.Fscan(out, &pids[0], &pids[1]); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, pid := range pids {
		if _, _ = child.AwaitOrphan(ctx, pid); ctx.Err() != nil {
			t.Errorf("process %d outlives its supervisor", pid)
		}
	}
}
