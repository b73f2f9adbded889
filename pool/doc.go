// Package pool owns the slots: units of concurrency, each one goroutine with one executor that runs one task at a
// time. A slot pulls its work from a [Source], so that a task is taken from the queue only when there is a slot for
// it. The supervisor creates the pool, tells it how many slots there should be and hears of every change; the pool
// knows neither Redis nor Python.
//
//	starting ──► idle ◄──► busy          reason: scale_down, max_tasks, max_memory, max_age,
//	    │          │         │                   reload, crashed, shutdown
//	    └────┬─────┴────┬────┘
//	         ▼          ▼
//	      leaving ──► gone
//
// A slot's state is written by its own goroutine and by nobody else. A busy slot is never stopped to make the pool
// smaller: it leaves when its task has ended.
package pool
