package supervisor

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "8"); err != nil { // those who are cut mostly wait
		panic(err)
	}
	goleak.VerifyTestMain(m)
}
