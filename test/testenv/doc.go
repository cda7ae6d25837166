// Package testenv starts the real parts that tests and the demo run on: a
// Kubernetes control plane with simulated nodes, OpenBao, AWS endpoints and a
// Git server, each a process of its own on loopback.
//
// The programs come from modules of their own (test/controlplane and
// test/servers/*), so that the product's go.mod stays free of them. [Binary]
// builds each once into the user's cache folder.
//
// A package with tests shares what it starts:
//
//	var cluster = testenv.Share(func(t testing.TB) (*testenv.ControlPlane, error) {
//		return testenv.StartControlPlane(t.Context(), testenv.Options{})
//	})
//
//	func TestMain(m *testing.M) { testenv.Main(m) }
//
//	func TestSomething(t *testing.T) {
//		cp := cluster.Get(t)
//		ns := cp.Namespace(t)
//		...
//	}
//
// The first Get starts it; [Main] stops everything, and shows the last lines
// of the logs when a test failed.
package testenv
