package python

const supervisorEnv = "AGENSIUM_TEST_SUPERVISOR"

func superviseUntilKilled() int { return 0 }
