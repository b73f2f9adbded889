package child

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

const asParent = "AGENSIUM_TEST_PARENT"

func init() {
	if os.Getenv(asParent) != "" {
		beParent()
	}
}

// beParent starts a program that has a child of its own, lets it say who they are once it is bound, and waits for its own end.
func beParent() {
	bound, say, err := os.Pipe()
	if err == nil {
		_, err = Start(Spec{Path: "/bin/sh", Args: []string{"-c", "sleep 600 & read said; echo $$ $!; wait"},
			Input: bound, Output: os.Stdout, Bound: true})
	}
	if err == nil {
		_, err = fmt.Fprintln(say, "bound")
	}
	if err != nil {
		fmt.Println(err)
	}
	select {}
}

func TestABoundProcessDiesWithUs(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(exe)
	parent.Env = append(os.Environ(), asParent+"=1")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var started, grandchild int
	if _, err := fmt.Fscan(out, &started, &grandchild); err != nil {
		t.Fatal(err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, pid := range []int{started, grandchild} {
		if _, _ = AwaitOrphan(ctx, pid); ctx.Err() != nil {
			t.Errorf("process %d lives", pid)
		}
	}
}
