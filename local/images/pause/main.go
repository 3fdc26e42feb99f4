// Command pause keeps a pod's namespaces open until it is told to end.
//
// Where a pod shares its process namespace this is process 1 of it, so it also waits for orphans.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			// Signals of one kind merge: bury all who are dead now, not one.
			buried, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if err == syscall.EINTR {
				continue
			}
			if buried <= 0 || err != nil {
				break
			}
		}
	}
}
