package pictures

import (
	"bytes"
	"encoding/binary"
)

// sniffBytes is how much of a file its type is told by.
const sniffBytes = 64

// mediaType tells the type of a file by its first bytes, whatever it is called. It is empty for all
// but the pictures and videos that cameras write: nothing is served that a browser could run.
func mediaType(head []byte) string {
	at := func(offset int, magic string) bool {
		return len(head) >= offset+len(magic) && string(head[offset:offset+len(magic)]) == magic
	}
	switch {
	case at(0, "\xff\xd8\xff"):
		return "image/jpeg"
	case at(0, "\x89PNG\r\n\x1a\n"):
		return "image/png"
	case at(0, "GIF87a"), at(0, "GIF89a"):
		return "image/gif"
	case at(0, "RIFF") && at(8, "WEBP"):
		return "image/webp"
	case at(0, "RIFF") && at(8, "AVI "):
		return "video/x-msvideo"
	case at(0, "BM") && isBMP(head):
		return "image/bmp"
	case at(4, "ftypqt  "), at(4, "moov"), at(4, "wide"), at(4, "mdat"):
		return "video/quicktime"
	case at(4, "ftyp") && !isStillPicture(head):
		return "video/mp4"
	case at(0, "\x1a\x45\xdf\xa3") && bytes.Contains(head, []byte("webm")):
		return "video/webm"
	case at(0, "\x1a\x45\xdf\xa3") && bytes.Contains(head, []byte("matroska")):
		return "video/x-matroska"
	}
	return ""
}

// isBMP looks further than the two letters, which a text may begin with too.
func isBMP(head []byte) bool {
	if len(head) < 30 {
		return false
	}
	header := binary.LittleEndian.Uint32(head[14:18])
	return header >= 40 && header <= 256
}

// isStillPicture tells HEIF and AVIF, which use the container of MP4.
func isStillPicture(head []byte) bool {
	if len(head) < 12 {
		return true
	}
	switch string(head[8:12]) {
	case "heic", "heix", "hevc", "heim", "heis", "mif1", "msf1", "avif", "avis":
		return true
	}
	return false
}
