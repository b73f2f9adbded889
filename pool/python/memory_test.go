package python

import (
	"context"
	"sync"
	"testing"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/pool/child"
)

// maxTree is what an application that holds 80 MB may take with eight children that have each run 500 tasks.
const maxTree = 200 << 20

func TestChildrenShareTheMemoryOfTheApplication(t *testing.T) {
	python := interpreter(t, latest)
	app := start(t, Options{Interpreter: python, App: "fat", Dir: "testdata/apps", Store: discard})
	client := startClient(t, python, "testdata/apps", "fat")
	job := jobOf(client.one(t, `work.delay(1000)`))
	var wg sync.WaitGroup
	var children []*Child
	for range 8 {
		c := child1(t, app)
		children = append(children, c)
		wg.Go(func() {
			for range 500 {
				if out, err := c.Execute(context.Background(), job); err != nil || out.State != celery.StateSuccess {
					t.Error(out, err)
					return
				}
			}
		})
	}
	wg.Wait()
	zygote, err := child.UsageOf(app.PID())
	if err != nil {
		t.Skip(err)
	}
	sum := zygote.PSS
	for _, c := range children {
		u, err := child.UsageOf(c.PID())
		if err != nil {
			t.Fatal(err)
		}
		sum += u.PSS
	}
	one, _ := child.UsageOf(children[0].PID())
	t.Logf("application %d MiB; zygote rss %d MiB; tree pss %d MiB; a child: rss %d MiB, pss %d MiB, private %d MiB",
		app.Info().RSS>>20, zygote.RSS>>20, sum>>20, one.RSS>>20, one.PSS>>20, one.Private>>20)
	if sum > maxTree {
		t.Errorf("the tree takes %d MiB", sum>>20)
	}
}
