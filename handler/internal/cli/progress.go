package cli

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// progressLine shows how far a command is: over and over in one line of a terminal, else
// in a line now and then.
type progressLine struct {
	out   io.Writer
	quiet bool

	mu    sync.Mutex // sizes are tried at once
	shown time.Time
	any   bool
}

func (p *progressLine) show(format string, values ...any) {
	every, end := 200*time.Millisecond, "\x1b[K\r"
	if !isTerminal(p.out) {
		every, end = 5*time.Second, "\n"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.quiet || time.Since(p.shown) < every {
		return
	}
	p.shown, p.any = time.Now(), true
	fmt.Fprintf(p.out, format+end, values...)
}

func (p *progressLine) end() {
	if p.any && isTerminal(p.out) {
		fmt.Fprint(p.out, "\x1b[K")
	}
}

func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
