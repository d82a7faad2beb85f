// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"compress/gzip"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Tools that are run as modules, so that they are no dependencies of the program. Later versions of nfpm's command need
// modules for formats that are not built here.
const (
	nfpm   = "github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.0"
	md2man = "github.com/cpuguy83/go-md2man/v2@v2.0.7"
)

//go:embed nfpm.yaml scripts copyright lintian-overrides
var recipe embed.FS

// staging is the directory from which packages are made.
type staging struct {
	dir     string
	root    string // of the checkout
	version string
	date    time.Time // of the last commit: what is built twice from one source is the same
}

// stage makes the directory, with all that is the same on every architecture.
func stage(version string) (*staging, error) {
	root, err := output("", "go", "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "enlace-package-")
	if err != nil {
		return nil, err
	}
	s := &staging{dir: dir, root: strings.TrimSpace(string(root)), version: version, date: time.Unix(0, 0).UTC()}
	if when, err := output(s.root, "git", "log", "-1", "--format=%cI"); err == nil {
		if t, err := time.Parse(time.RFC3339, strings.TrimSpace(string(when))); err == nil {
			s.date = t.UTC()
		}
	}
	for _, step := range []func() error{s.recipe, s.host, s.completions, s.manuals, s.changelog, s.documents, s.licenses} {
		if err := step(); err != nil {
			_ = os.RemoveAll(dir)
			return nil, err
		}
	}
	return s, nil
}

// recipe puts nfpm's configuration and the maintainer scripts there.
func (s *staging) recipe() error {
	return fs.WalkDir(recipe, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := recipe.ReadFile(name)
		if err != nil {
			return err
		}
		return s.write(name, b)
	})
}

// host copies the units, hooks and examples.
func (s *staging) host() error {
	dir := filepath.Join(s.root, "cmd", "enlace", "host")
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		if err := s.write(filepath.Join("host", e.Name()), b); err != nil {
			return err
		}
	}
	return nil
}

// completions asks the program for them.
func (s *staging) completions() error {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		b, err := output(s.root, "go", "run", "./cmd/enlace", "completion", shell)
		if err != nil {
			return err
		}
		if err := s.write("completion."+shell, b); err != nil {
			return err
		}
	}
	return nil
}

// referenceTitle takes the place of the reference's own title in its manual page.
const referenceTitle = `enlace.policy 5 "" enlace "File formats"
==================================================

# NAME

enlace.policy - the policy of enlace(8)

# DESCRIPTION
`

// manuals are made of Markdown: enlace(8) has a page of its own, enlace.policy(5) is the language's reference.
func (s *staging) manuals() error {
	reference, err := os.ReadFile(filepath.Join(s.root, "policy", "lang", "REFERENCE.md"))
	if err != nil {
		return err
	}
	_, body, _ := strings.Cut(string(reference), "\n")
	if err := s.write("enlace.policy.5.md", []byte(referenceTitle+definitions(body))); err != nil {
		return err
	}
	for _, page := range []string{"host/enlace.8", "enlace.policy.5"} {
		if _, err := output(s.root, "go", "run", md2man, "-in", filepath.Join(s.dir, page+".md"), "-out", filepath.Join(s.dir, page)); err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(s.dir, page))
		if err != nil {
			return err
		}
		if err := s.write(filepath.Base(page)+".gz", compressed(b)); err != nil {
			return err
		}
	}
	return nil
}

// changelog is Debian's form of it, which only says where the changes are.
func (s *staging) changelog() error {
	text := fmt.Sprintf("enlace (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md of the source.\n\n -- The enlace developers <maintainers@enlace.example>  %s\n",
		s.version, s.date.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	return s.write("changelog.gz", compressed([]byte(text)))
}

// documents are those of the source that a user of the package wants, too.
func (s *staging) documents() error {
	for from, to := range map[string]string{"README.md": "README.md", "LICENSE": "LICENSE", "CHANGELOG.md": "CHANGES.md", "watch/STATUS.md": "STATUS.md"} {
		b, err := os.ReadFile(filepath.Join(s.root, from))
		if err != nil {
			return err
		}
		if err := s.write(to, b); err != nil {
			return err
		}
	}
	return nil
}

// licenses are the notices of the modules that are linked into the program, which want to go with it.
func (s *staging) licenses() error {
	list, err := output(s.root, "go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}\t{{.Dir}}{{end}}{{end}}", "./cmd/enlace")
	if err != nil {
		return err
	}
	goroot, err := output(s.root, "go", "env", "GOROOT")
	if err != nil {
		return err
	}
	modules := strings.Split(strings.TrimSpace(string(list)), "\n")
	modules = append(modules, "the Go library\t"+strings.TrimSpace(string(goroot)))
	slices.Sort(modules)
	var b bytes.Buffer
	for _, m := range slices.Compact(modules) {
		name, dir, ok := strings.Cut(m, "\t")
		if !ok {
			continue // a package of the standard library
		}
		files, err := filepath.Glob(filepath.Join(dir, "[Ll][Ii][Cc][Ee][Nn][CcSs][Ee]*"))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("%s has no licence in %s", name, dir)
		}
		text, err := os.ReadFile(files[0])
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s\n\n%s\n----\n\n", name, text)
	}
	return s.write("licenses.gz", compressed(b.Bytes()))
}

// write puts a file into the staging directory.
func (s *staging) write(name string, content []byte) error {
	file := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if bytes.HasPrefix(content, []byte("#!")) {
		mode = 0o755
	}
	// What is packed has the same rights whatever the umask is.
	return errors.Join(os.WriteFile(file, content, mode), os.Chmod(file, mode))
}

// compressed is without a name and a time, as Debian wants it.
func compressed(b []byte) []byte {
	var out bytes.Buffer
	z, _ := gzip.NewWriterLevel(&out, gzip.BestCompression)
	_, _ = z.Write(b)
	_ = z.Close()
	return out.Bytes()
}

// output runs a program and returns what it printed; what it complained about is part of the error.
func output(dir, name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, complaints.Bytes())
	}
	return out, nil
}
