// Package emulatortest runs all emulators inside a test, over in-memory
// connections and with the real clients: in a testing/synctest bubble, with fake
// time, or outside one.
//
//	synctest.Test(t, func(t *testing.T) {
//		e := emulatortest.Start(t, nil)
//		queue := e.CreateQueue("mail", nil)
//		url := e.ServeHTTP("worker.example:80", worker)
//		// … create tasks with e.Tasks, then
//		if err := e.Drain(t.Context()); err != nil {
//			t.Fatal(err)
//		}
//	})
//
// What a test usually needs: Drain (everything is delivered), Advance and Freeze
// (what is due tomorrow), RequireEnqueued (what would be delivered), SetChaos
// (what goes wrong), and clients of all services. The tests named TestExample are
// examples to copy.
//
// # Guarantees
//
//   - When the test ends, it fails if a task is stuck, or if an outbox entity is
//     left, unless Options says that this is meant.
//   - Then everything is closed, so that the bubble can end: the emulators, the
//     clients, the workers that ServeHTTP started.
//   - Nothing touches the real network or the environment.
package emulatortest
