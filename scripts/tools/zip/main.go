// Command zip packs a staged app for deployment and proves that the package is
// one that the Functions host can start.
//
// It exists because the mode of the binary must survive: on Elastic Premium and
// dedicated plans the bit in the zip is the one that counts
// (docs/functions-host.md#deployment), and a zip program may be missing or drop it.
package main

import (
	"debug/elf"
	"fmt"
	"os"
)

func main() {
	arguments := append(os.Args[1:], "amd64")
	if n := len(os.Args); n != 3 && n != 4 || machines[arguments[2]] == elf.EM_NONE {
		fmt.Fprintln(os.Stderr, "usage: zip FOLDER ZIP [amd64|arm64]")
		os.Exit(2)
	}
	if err := run(arguments[0], arguments[1], arguments[2]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// machines are the processors that packages are for, by Go's names of them.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// run packs folder into the file named target, then reads target back. On error
// no target is left behind.
func run(folder, target, arch string) error {
	err := write(folder, target)
	if err == nil {
		err = verify(target, arch)
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
