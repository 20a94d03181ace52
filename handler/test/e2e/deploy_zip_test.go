package e2e_test

import (
	"archive/zip"
	"crypto/sha256"
	"debug/elf"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"spillway/handler/internal/simulator"
	"spillway/handler/test/funchost"
)

// mostBytes is how large the package may be: it is fetched before a first start.
const mostBytes = 12 << 20

// TestPackageRunsFromAReadOnlyFolder makes the package that is deployed,
// looks at it, unpacks it as the platform does, takes the right to write away,
// and serves from there.
func TestPackageRunsFromAReadOnlyFolder(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "spillway.zip")
	pack := exec.Command("../../../scripts/package.sh", file)
	if said, err := pack.CombinedOutput(); err != nil {
		t.Fatalf("package.sh: %v\n%s", err, said)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	unpacked(t, file, root)
	wantStaticLinux(t, filepath.Join(root, "spillway"))
	t.Logf("the package is %.1f MB", float64(info.Size())/1e6)
	if info.Size() >= mostBytes {
		t.Errorf("the package is %d bytes, must be less than %d", info.Size(), mostBytes)
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("the package is for linux/amd64: it does not run here")
	}
	readOnly(t, root)
	before := contents(t, root)
	s := setup{backends: threeBackends()}
	r := &rig{t: t, sim: simulator.Start(t, simulator.Config{Resources: resources(s.backends)})}
	r.host = funchost.Start(t, funchost.Options{Root: root, Env: []string{
		"SPILLWAY_CONFIG=" + document(t, r.sim, s), "BACKEND_KEY=" + backendKey, "SPILLWAY_AUTH=none", "SPILLWAY_EXPOSE=true", "AzureWebJobsStorage=", "SPILLWAY_STATE=",
	}})
	r.wantServedBy("ptu")
	r.sim.Throttle("ptu", 0)
	if a := r.post(chatPath, helloSSE); a.status != http.StatusOK || a.backend() == "ptu" {
		t.Errorf("%d by %q: %s", a.status, a.backend(), a.body)
	}
	if after := contents(t, root); !maps.Equal(before, after) {
		t.Errorf("the folder was changed:\n%v\nto\n%v", before, after)
	}
}

// unpacked unpacks the package. Modes are those of its entries, nothing else
// makes the program executable on the platform.
func unpacked(t *testing.T, file, root string) {
	t.Helper()
	pack, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer pack.Close()
	for _, entry := range pack.File {
		want := fs.FileMode(0o644)
		if entry.Name == "spillway" {
			want = 0o755
		}
		if entry.Mode() != want {
			t.Errorf("%s has mode %v, want %v", entry.Name, entry.Mode(), want)
		}
		target := filepath.Join(root, filepath.FromSlash(entry.Name))
		content, err := fs.ReadFile(pack, entry.Name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(target, content, entry.Mode()); err != nil {
			t.Fatal(err)
		}
	}
}

// wantStaticLinux checks that the program needs nothing of the machine it runs on.
func wantStaticLinux(t *testing.T, program string) {
	t.Helper()
	file, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	libraries, err := file.ImportedLibraries()
	if file.Machine != elf.EM_X86_64 || err != nil || len(libraries) > 0 {
		t.Errorf("%v, with libraries %v (%v), want a static program for amd64", file.Machine, libraries, err)
	}
	for _, part := range file.Progs {
		if part.Type == elf.PT_INTERP {
			t.Error("it wants a dynamic linker")
		}
	}
}

// readOnly takes the right to write away for the length of the test. It binds
// everybody but root; for root what is in the folder is compared afterwards.
func readOnly(t *testing.T, root string) {
	t.Helper()
	modes := func(folder, plain, program fs.FileMode) {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir():
				return os.Chmod(path, folder)
			case d.Name() == "spillway":
				return os.Chmod(path, program)
			}
			return os.Chmod(path, plain)
		})
		if err != nil {
			t.Error(err)
		}
	}
	modes(0o555, 0o444, 0o555)
	t.Cleanup(func() { modes(0o755, 0o644, 0o755) })
}

// contents is what is in a folder: the name of everything with its digest.
func contents(t *testing.T, root string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			found[path] = "folder"
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		digest := sha256.New()
		if _, err := io.Copy(digest, file); err != nil {
			return err
		}
		found[path] = fmt.Sprintf("%x", digest.Sum(nil))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
