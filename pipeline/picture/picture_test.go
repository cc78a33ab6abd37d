package picture_test

import (
	"bytes"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/image/bmp"

	"hsi.home.arpa/pipeline/picture"
)

// gradient is a picture with content, so that encoders cannot make it trivially small.
func gradient(width, height int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.SetRGBA(x, y, color.RGBA{R: uint8(x * 255 / width), G: uint8(y * 255 / height), B: uint8((x * y) % 251), A: 255})
		}
	}
	return img
}

func encode(tb testing.TB, format picture.Format, img image.Image) []byte {
	tb.Helper()
	var buffer bytes.Buffer
	switch format {
	case picture.JPEG:
		require.NoError(tb, jpeg.Encode(&buffer, img, nil))
	case picture.PNG:
		require.NoError(tb, png.Encode(&buffer, img))
	case picture.GIF:
		require.NoError(tb, gif.Encode(&buffer, img, nil))
	case picture.BMP:
		require.NoError(tb, bmp.Encode(&buffer, img))
	case picture.WebP:
		tb.Fatal("no encoder")
	}
	return buffer.Bytes()
}

// webp is a lossless WebP picture of one pixel; there is no encoder at hand.
var webp = []byte("RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f\x00\x00\x00\x10\x07\x10\x11\x11\x88\x88\xfe\x07\x00")

func verify(data []byte, limits picture.Limits) (picture.Info, error) {
	return picture.Verify(bytes.NewReader(data), int64(len(data)), limits)
}

func TestVerify_AcceptsEveryFormat(t *testing.T) {
	t.Parallel()
	for _, format := range []picture.Format{picture.JPEG, picture.PNG, picture.GIF, picture.BMP} {
		data := encode(t, format, gradient(320, 200))
		info, err := verify(data, picture.Limits{})
		require.NoError(t, err, format)
		require.Positive(t, info.DecodedBytes)
		require.Equal(t, picture.Info{Format: format, Width: 320, Height: 200, DecodedBytes: info.DecodedBytes}, info)

		decoded, err := picture.Decode(t.Context(), data, picture.Limits{}, nil)
		require.NoError(t, err, format)
		require.Equal(t, info, decoded.Info)
		require.Equal(t, image.Pt(info.Width, info.Height), decoded.Image.Bounds().Size())
	}
	info, err := verify(webp, picture.Limits{})
	require.NoError(t, err)
	require.Equal(t, picture.Info{Format: picture.WebP, Width: 1, Height: 1, DecodedBytes: info.DecodedBytes}, info)
	require.Equal(t, "image/webp", info.Format.MediaType())
	_, err = picture.Decode(t.Context(), webp, picture.Limits{}, nil)
	require.NoError(t, err)
}

func TestVerify_EveryPrefixOfAnUploadIsTruncated(t *testing.T) {
	t.Parallel()
	for _, format := range []picture.Format{picture.JPEG, picture.PNG, picture.GIF, picture.BMP} {
		data := encode(t, format, gradient(64, 48))
		for n := 1; n < len(data); n++ {
			_, err := verify(data[:n], picture.Limits{})
			if format == picture.GIF && err == nil {
				continue // its end marker is one byte, which also occurs inside
			}
			require.ErrorIs(t, err, picture.ErrTruncated, "%s cut at %d of %d", format, n, len(data))
		}
	}
	for n := 1; n < len(webp); n++ {
		_, err := verify(webp[:n], picture.Limits{})
		require.ErrorIs(t, err, picture.ErrTruncated, "webp cut at %d", n)
	}
}

func TestVerify_AFileThatWasSizedBeforeItWasFilledIsTruncated(t *testing.T) {
	t.Parallel()
	data := encode(t, picture.JPEG, gradient(320, 240))
	full := make([]byte, len(data))
	copy(full, data[:len(data)/2])
	_, err := verify(full, picture.Limits{})
	require.ErrorIs(t, err, picture.ErrTruncated)
}

func TestVerify_TheEndOfAnEmbeddedPreviewDoesNotCount(t *testing.T) {
	t.Parallel()
	data := encode(t, picture.JPEG, gradient(64, 48))
	preview := encode(t, picture.JPEG, gradient(16, 12))
	length := len(preview) + 2
	withPreview := slices.Concat(data[:2], []byte{0xff, 0xe1, byte(length >> 8), byte(length)}, preview, data[2:])
	info, err := verify(withPreview, picture.Limits{})
	require.NoError(t, err)
	require.Equal(t, 64, info.Width)
	_, err = verify(withPreview[:len(withPreview)-2], picture.Limits{})
	require.ErrorIs(t, err, picture.ErrTruncated)
}

func TestVerify_BytesAfterTheEndAreAllowed(t *testing.T) {
	t.Parallel()
	for _, format := range []picture.Format{picture.JPEG, picture.PNG, picture.BMP} {
		data := encode(t, format, gradient(64, 48))
		_, err := verify(append(data, bytes.Repeat([]byte{0}, 40_000)...), picture.Limits{})
		require.NoError(t, err, format)
	}
}

func TestVerify_RefusesWhatIsNoPicture(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		data []byte
		want error
	}{
		"nothing":             {nil, picture.ErrEmpty},
		"text":                {[]byte("this is a text named .jpg"), picture.ErrNotAnImage},
		"html":                {[]byte("<html><body>camera login</body></html>"), picture.ErrNotAnImage},
		"zeros":               {make([]byte, 4096), picture.ErrNotAnImage},
		"jpeg without header": {[]byte("\xff\xd8\xff\xd9\x00\x00"), picture.ErrNotAnImage},
		"wave sound":          {[]byte("RIFF\x24\x00\x00\x00WAVEfmt 0123456789abcdefghij"), picture.ErrNotAnImage},
		"png without size":    {append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 30)...), picture.ErrNotAnImage},
		"os/2 bitmap":         {append([]byte("BM"), make([]byte, 60)...), picture.ErrNotAnImage},
	}
	for name, test := range tests {
		_, err := verify(test.data, picture.Limits{})
		require.ErrorIs(t, err, test.want, name)
		_, err = picture.Decode(t.Context(), test.data, picture.Limits{}, nil)
		require.ErrorIs(t, err, test.want, name)
	}
}

func TestVerify_RefusesABomb(t *testing.T) {
	t.Parallel()
	bomb := encode(t, picture.PNG, gradient(8, 8))
	copy(bomb[16:24], "\x00\x01\x00\x00\x00\x01\x00\x00") // 65,536 × 65,536
	_, err := verify(bomb, picture.Limits{})
	require.ErrorIs(t, err, picture.ErrTooManyPixels)
	_, err = picture.Decode(t.Context(), bomb, picture.Limits{}, nil)
	require.ErrorIs(t, err, picture.ErrTooManyPixels)
	_, err = verify(bomb[:40], picture.Limits{})
	require.ErrorIs(t, err, picture.ErrTooManyPixels, "it needs no end to be a bomb")

	data := encode(t, picture.JPEG, gradient(100, 100))
	_, err = verify(data, picture.Limits{MaxPixels: 10_000})
	require.NoError(t, err)
	_, err = verify(data, picture.Limits{MaxPixels: 9_999})
	require.ErrorIs(t, err, picture.ErrTooManyPixels)
	_, err = verify(data, picture.Limits{MaxBytes: int64(len(data)) - 1})
	require.ErrorIs(t, err, picture.ErrTooLarge)
}

type failingReader struct{}

func (failingReader) ReadAt([]byte, int64) (int, error) { return 0, io.ErrClosedPipe }

func TestVerify_PassesOnErrorsOfTheReader(t *testing.T) {
	t.Parallel()
	_, err := picture.Verify(failingReader{}, 100, picture.Limits{})
	require.ErrorIs(t, err, io.ErrClosedPipe)
}

func TestDecode_ReportsBrokenPixels(t *testing.T) {
	t.Parallel()
	data := encode(t, picture.PNG, gradient(64, 48))
	data[60] ^= 0xff // inside the compressed pixels
	_, err := picture.Decode(t.Context(), data, picture.Limits{}, nil)
	require.Error(t, err)
	for _, known := range []error{picture.ErrTruncated, picture.ErrNotAnImage, picture.ErrEmpty} {
		require.NotErrorIs(t, err, known)
	}
}

func FuzzVerify(f *testing.F) {
	for _, format := range []picture.Format{picture.JPEG, picture.PNG, picture.GIF, picture.BMP} {
		data := encode(f, format, gradient(16, 12))
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	f.Add(webp)
	f.Add([]byte("\xff\xd8\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := verify(data, picture.Limits{MaxPixels: 1 << 20})
		if err != nil {
			return
		}
		require.Positive(t, info.Width)
		require.Positive(t, info.Height)
		require.LessOrEqual(t, info.Width*info.Height, 1<<20)
		decoded, err := picture.Decode(t.Context(), data, picture.Limits{MaxPixels: 1 << 20}, nil)
		if err != nil {
			return
		}
		if info.Format != picture.GIF { // its first frame may be smaller
			require.Equal(t, image.Pt(info.Width, info.Height), decoded.Image.Bounds().Size(), "the size that was checked")
		}
		_, err = picture.NewThumbnails(decoded.Image).Draw(decoded.Image.Bounds())
		require.NoError(t, err)
	})
}

func TestThumbnails_KeepProportionsAndShowTheBox(t *testing.T) {
	t.Parallel()
	white := image.NewGray(image.Rect(0, 0, 1920, 1080))
	for i := range white.Pix {
		white.Pix[i] = 255
	}
	data, err := picture.NewThumbnails(white).Draw(image.Rect(960, 540, 1440, 810))
	require.NoError(t, err)
	if os.Getenv("DUMP_THUMBNAIL") != "" {
		require.NoError(t, os.WriteFile(filepath.Join(os.Getenv("DUMP_THUMBNAIL"), "thumbnail.jpg"), data, 0o600))
	}
	thumbnail, err := jpeg.Decode(bytes.NewReader(data))
	require.NoError(t, err)
	require.Equal(t, image.Pt(320, 240), thumbnail.Bounds().Size())

	gray := func(x, y int) uint8 { return color.GrayModel.Convert(thumbnail.At(x, y)).(color.Gray).Y }
	require.Less(t, gray(160, 10), uint8(20), "black bar above")
	require.Less(t, gray(160, 230), uint8(20), "black bar below")
	require.Greater(t, gray(20, 120), uint8(230), "the picture")
	require.Greater(t, gray(200, 140), uint8(200), "inside of the box is not painted over")
	// 1920 wide becomes 320: one sixth, below a bar of 30 pixels.
	for _, p := range []image.Point{{160, 140}, {239, 140}, {200, 120}, {200, 164}} {
		r, g, b, _ := thumbnail.At(p.X, p.Y).RGBA()
		require.Greater(t, r, g+0x3000, "red line at %v", p)
		require.Greater(t, r, b+0x3000, "red line at %v", p)
	}
}

func TestThumbnails_SurviveOddShapesAndBoxes(t *testing.T) {
	t.Parallel()
	for _, size := range []image.Point{{1, 1}, {1, 5000}, {5000, 1}, {320, 240}, {241, 320}} {
		thumbnails := picture.NewThumbnails(gradient(size.X, size.Y))
		data, err := thumbnails.Draw(
			image.Rect(-50, -50, 10_000, 10_000), image.Rect(size.X, size.Y, size.X+5, size.Y+5), image.Rectangle{}, image.Rect(0, 0, 1, 1))
		require.NoError(t, err)
		config, err := jpeg.DecodeConfig(bytes.NewReader(data))
		require.NoError(t, err)
		require.Equal(t, 320, config.Width)
		require.Equal(t, 240, config.Height)
	}
}

func BenchmarkThumbnail1080p(b *testing.B) {
	img, err := picture.Decode(b.Context(), encode(b, picture.JPEG, gradient(1920, 1080)), picture.Limits{}, nil)
	require.NoError(b, err)
	for b.Loop() {
		if _, err := picture.NewThumbnails(img.Image).Draw(image.Rect(100, 100, 200, 300)); err != nil {
			b.Fatal(err)
		}
	}
}

func TestNewScaled(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ width, height, most, wantWidth, wantHeight int }{
		{1600, 1200, 640, 640, 480},
		{640, 480, 640, 640, 480},
		{100, 80, 640, 100, 80},
		{1, 1, 160, 1, 1},
		{4000, 1, 160, 160, 1},
		{1, 4000, 160, 1, 320},
		{300, 3000, 160, 32, 320},
		{3, 2, 1, 1, 1},
	} {
		scaled := picture.NewScaled(gradient(test.width, test.height), test.most)
		data, err := scaled.Draw(image.Rect(0, 0, test.width, test.height), image.Rect(-5, -5, 0, 0))
		require.NoError(t, err)
		config, err := jpeg.DecodeConfig(bytes.NewReader(data))
		require.NoError(t, err)
		require.Equal(t, image.Pt(test.wantWidth, test.wantHeight), image.Pt(config.Width, config.Height), "%+v", test)
	}
}
