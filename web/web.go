// Package web carries the dashboard inside the program: the page that `make web` builds from the
// TypeScript beside this file, or a small page that says how to get it when the program was built
// without.
package web

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// Files returns the files of the dashboard, index.html and what it loads, and whether they are the
// built dashboard or the small page that stands in for it.
func Files() (files fs.FS, built bool) {
	if _, err := fs.Stat(dist, "dist/app/index.html"); err == nil {
		return sub("dist/app"), true
	}
	return sub("dist/placeholder"), false
}

// sub cannot fail: the folders are in the program.
func sub(dir string) fs.FS {
	files, err := fs.Sub(dist, dir)
	if err != nil {
		panic(err)
	}
	return files
}
