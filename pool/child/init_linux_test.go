package child

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func init() { contained = beContainer }

// beContainer is what the test binary does there. Below PID 1 it leaves an orphan, waits until that is reaped, then for a signal.
func beContainer() int {
	if os.Getpid() == 1 {
		status, err := Init()
		if err != nil {
			fmt.Println(err)
			return 99
		}
		return status
	}
	heard := make(chan os.Signal, 8)
	signal.Notify(heard, syscall.SIGTERM)
	out, err := exec.Command("sh", "-c", "sleep 0 >/dev/null & echo $!").Output() // whose status nobody takes from us
	var orphan int
	if _, scan := fmt.Sscan(string(out), &orphan); err != nil || scan != nil {
		fmt.Println(err, scan)
		return 98
	}
	for syscall.Kill(orphan, 0) == nil {
	}
	fmt.Println("reaped")
	if sig := <-heard; sig != syscall.SIGTERM {
		return 97
	}
	return 7
}

func TestInit(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	container := exec.Command(exe)
	container.Env = append(os.Environ(), asInit+"=1")
	container.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	if os.Geteuid() != 0 {
		container.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
	}
	out, err := container.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := container.Start(); errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
		t.Skipf("SKIPPED, NOT TESTED: needs a PID namespace: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "reaped\n" {
		t.Errorf("said %q, %v", line, err)
	}
	if err := container.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	rest, _ := io.ReadAll(lines)
	var ended *exec.ExitError
	if err := container.Wait(); !errors.As(err, &ended) || ended.ExitCode() != 7 {
		t.Errorf("ended with %v, said %s", err, strings.TrimSpace(string(rest)))
	}
}
