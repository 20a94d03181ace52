// Command zip packs a staged app for deployment and proves that the package is
// one that the Functions host can start.
//
// It exists because the mode of the binary must survive: on Elastic Premium and
// dedicated plans the bit in the zip is the one that counts
// (docs/functions-host.md#deployment), and a zip program may be missing or drop it.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: zip FOLDER ZIP")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// run packs folder into the file named target, then reads target back. On error
// no target is left behind.
func run(folder, target string) error {
	err := write(folder, target)
	if err == nil {
		err = verify(target)
	}
	if err != nil {
		_ = os.Remove(target)
		return err
	}
	info, err := os.Stat(target)
	if err != nil {
		return fmt.Errorf("read package: %w", err)
	}
	fmt.Fprintf(os.Stderr, "packed %s, %.1f MB\n", target, float64(info.Size())/1e6)
	return nil
}
