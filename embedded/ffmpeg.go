package embedded

import (
	"os"

	"hsi.home.arpa/embedded/internal/child"
)

// FindFFmpeg looks for ffmpeg on the search path and in binDirs (see Options.BinDirs), and returns
// its path and the whole environment that it runs with. The error is *MissingError when there is
// none that works.
func FindFFmpeg(binDirs []string) (path string, env []string, err error) {
	self := child.OtherIdentity(os.Geteuid(), os.Getegid())
	program, err := child.NewFinder(self, binDirs).FFmpeg()
	if err != nil {
		return "", nil, err
	}
	return program.Path, program.Environment("/"), nil
}
