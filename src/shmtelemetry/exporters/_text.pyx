"""The lines of the text formats: what stays the same between two scrapes is kept as bytes, and numbers are
written between it.

Numbers look as prometheus_client's floatToGoString makes them: Python's repr, with an exponent from 1e6 on.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from libc.float cimport DBL_MAX, DBL_MIN
from libc.math cimport fabs, floor, isinf, isnan, log10, pow, signbit, trunc
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport abs, calloc, free
from libc.string cimport memcmp, memcpy, memmove, strchr, strlen

cdef extern from "Python.h":
    enum: Py_DTSF_ADD_DOT_0
    char *PyOS_double_to_string(double value, char format, int precision, int flags, int *kind) except NULL
    PyObject *PyBytes_FromStringAndSize(const char *text, Py_ssize_t length) except NULL
    int _PyBytes_Resize(PyObject **text, Py_ssize_t length) except -1

cdef enum:
    NUMBER = 32  # room for a number of up to 24 bytes and its line's end; the last byte is their length, or 0
    LENGTH = NUMBER - 1

cdef enum Part:
    VERBATIM
    SAMPLES
    SAMPLES_AND_CREATED
    CREATED
    GRID

cdef double EXACT = 9007199254740992.0  # 2**53: every integer below it is a double

cdef struct Text:
    const char *at
    size_t length

cdef struct Texts:  # one for each series, or for each bucket
    const char *at
    const uint64_t *begin  # one more than there are

cdef struct Lines:  # of one family
    Py_ssize_t series
    Py_ssize_t buckets  # 0 where the family is no histogram
    Text value, count, created  # names, up to the labels; of length 0 where there is no such line
    Texts labels  # from the brace to the blank
    Texts before, bound, after  # of a bucket's line: up to le, le, up to the blank
    const uint64_t *counts
    const char *values
    const char *created_values
    Py_ssize_t exemplars
    const uint64_t *exemplar_lines  # which they end: of all lines of buckets, or of values; rising
    Texts exemplar  # each from the blank before it to its line's end

cdef struct Cells:  # lines of several numbers for each of some series
    Py_ssize_t count  # of these series
    Py_ssize_t columns
    Text name
    const Texts *labels  # of all series: the brace and what follows it, up to the column's
    const Texts *column  # the column's labels, up to the blank
    const int64_t *series  # which they are
    const char *numbers  # of length 0 where there is no line

cdef struct Section:
    Part part
    Text text
    const Lines *lines
    const Cells *cells


cdef inline char *put(char *out, Text text) noexcept nogil:
    memcpy(out, text.at, text.length)
    return out + text.length


cdef inline char *put_one(char *out, const Texts *texts, Py_ssize_t number) noexcept nogil:
    cdef size_t length = texts.begin[number + 1] - texts.begin[number]
    memcpy(out, texts.at + texts.begin[number], length)
    return out + length


cdef inline char *put_number(char *out, const char *numbers, Py_ssize_t number) noexcept nogil:
    memcpy(out, numbers + NUMBER * number, NUMBER)
    return out + numbers[NUMBER * number + LENGTH]


cdef inline char *put_digits(char *out, uint64_t integer) noexcept nogil:
    cdef char digits[20]
    cdef int at = 20
    while True:
        at -= 1
        digits[at] = <char>(48 + integer % 10)
        integer //= 10
        if not integer:
            break
    memcpy(out, digits + at, 20 - at)
    return out + 20 - at


cdef inline char *with_exponent(char *out, char *end, int exponent) noexcept nogil:
    """Digits, as d.ddde+XX without zeros at the end."""
    while (end - 1)[0] == c"0":
        end -= 1
    if end > out + 1:
        memmove(out + 2, out + 1, end - out - 1)
        out[1] = c"."
        end += 1
    end[0], end[1] = c"e", c"+"
    end[2], end[3] = <char>(48 + exponent // 10), <char>(48 + exponent % 10)
    return end + 4


cdef inline char *put_integer(char *out, uint64_t integer) noexcept nogil:
    """An integer below 2**53."""
    cdef char *end = put_digits(out, integer)
    if integer >= 1000000:
        return with_exponent(out, end, <int>(end - out) - 1)
    end[0], end[1] = c".", c"0"
    return end + 2


cdef char *put_double(char *out, double value) except NULL:
    cdef char *digits
    cdef char *dot
    cdef size_t length
    if isnan(value) or isinf(value):
        memcpy(out, "NaN" if isnan(value) else "+Inf" if value > 0 else "-Inf", 4)
        return out + (3 if isnan(value) else 4)
    if trunc(value) == value and fabs(value) < EXACT and not signbit(value):
        return put_integer(out, <uint64_t>value)
    digits = PyOS_double_to_string(value, c"r", 0, Py_DTSF_ADD_DOT_0, NULL)
    length = strlen(digits)
    dot = strchr(digits, c".")
    if value > 0 and dot != NULL and dot - digits > 6:
        memcpy(out, digits, dot - digits)
        memcpy(out + (dot - digits), dot + 1, length - (dot - digits) - 1)
        out = with_exponent(out, out + length - 1, <int>(dot - digits) - 1)
    else:
        memcpy(out, digits, length)
        out += length
    PyMem_Free(digits)
    return out


cdef char *put_rounded(char *out, double value) except NULL nogil:
    """Six significant digits, for estimates: a tenth of the time that a double's shortest exact text takes."""
    cdef char text[20]
    cdef uint64_t digits
    cdef int exponent, at
    if not DBL_MIN <= value <= DBL_MAX or trunc(value) == value:
        return put_exact(out, value)
    exponent = <int>floor(log10(value))
    digits = <uint64_t>(value * pow(10.0, 5 - exponent) + 0.5)
    if digits >= 1000000:  # rounded up to the next power of ten
        digits, exponent = 100000, exponent + 1
    if not 100000 <= digits < 1000000 or not -99 <= exponent <= 99:  # a logarithm that is off, or a rare number
        return put_exact(out, value)
    put_digits(text, digits)
    out[0], out[1] = text[0], c"."
    memcpy(out + 2, text + 1, 5)
    out[7], out[8] = c"e", c"-" if exponent < 0 else c"+"
    at = abs(exponent)
    out[9], out[10] = <char>(48 + at // 10), <char>(48 + at % 10)
    return out + 11


cdef char *put_exact(char *out, double value) except NULL nogil:
    if trunc(value) == value and 0 <= value < EXACT:
        return put_integer(out, <uint64_t>value)
    with gil:
        return put_double(out, value)


cdef char *put_large_count(char *out, uint64_t count) except NULL with gil:
    return put_double(out, <double>count)


cdef inline char *put_count(char *out, uint64_t count) except NULL nogil:
    out = put_integer(out, count) if count < <uint64_t>EXACT else put_large_count(out, count)
    out[0] = c"\n"
    return out + 1


cdef inline char *put_name(char *out, Text name, const Lines *lines, Py_ssize_t series) noexcept nogil:
    return put_one(put(out, name), &lines.labels, series)


cdef char *put_exemplar(char *out, const Lines *lines, uint64_t line, Py_ssize_t *following) noexcept nogil:
    """What ends this line, if it has an exemplar. following: the first of those that are not written yet."""
    if following[0] < lines.exemplars and lines.exemplar_lines[following[0]] == line:
        out = put_one(out - 1, &lines.exemplar, following[0])  # in the place of the line's end
        following[0] += 1
    return out


cdef inline char *put_distribution(
    char *out, const Lines *lines, Py_ssize_t series, bint exemplars, Py_ssize_t *following
) except NULL nogil:
    cdef const uint64_t *counts = lines.counts + series * lines.buckets
    cdef uint64_t count = 0
    cdef Py_ssize_t bucket
    for bucket in range(lines.buckets):
        count += counts[bucket]
        out = put_one(out, &lines.before, series)
        out = put_one(out, &lines.bound, bucket)
        out = put_one(out, &lines.after, series)
        out = put_count(out, count)
        if exemplars:
            out = put_exemplar(out, lines, series * lines.buckets + bucket, following)
    if lines.count.length:
        out = put_count(put_name(out, lines.count, lines, series), count)
    return out


cdef char *put_cells(char *out, const Cells *cells) noexcept nogil:
    cdef Py_ssize_t row, column, at
    for row in range(cells.count):
        for column in range(cells.columns):
            at = row * cells.columns + column
            if cells.numbers[NUMBER * at + LENGTH]:
                out = put_one(put(out, cells.name), cells.labels, cells.series[row])
                out = put_number(put_one(out, cells.column, column), cells.numbers, at)
    return out


cdef char *put_section(char *out, const Section *section) except NULL nogil:
    cdef const Lines *lines = section.lines
    cdef Py_ssize_t series, following = 0
    if section.part == VERBATIM:
        return put(out, section.text)
    if section.part == GRID:
        return put_cells(out, section.cells)
    for series in range(lines.series):
        if section.part != CREATED:
            if lines.buckets and following < lines.exemplars:
                out = put_distribution(out, lines, series, True, &following)
            elif lines.buckets:
                out = put_distribution(out, lines, series, False, &following)
            if lines.value.length:
                out = put_number(put_name(out, lines.value, lines, series), lines.values, series)
                if not lines.buckets:
                    out = put_exemplar(out, lines, series, &following)
        if section.part != SAMPLES and lines.created_values[NUMBER * series + LENGTH]:
            out = put_number(put_name(out, lines.created, lines, series), lines.created_values, series)
    return out


cdef class Numbers:
    """The text of one double for each series; written anew only where the double is another one."""

    cdef Py_ssize_t length
    cdef double *values
    cdef char *text

    def __cinit__(self, Py_ssize_t length):
        self.length = length
        self.values = <double *>calloc(length or 1, sizeof(double))
        self.text = <char *>calloc(length or 1, NUMBER)
        if self.values == NULL or self.text == NULL:
            raise MemoryError("no room for numbers")

    def __dealloc__(self):
        free(self.values)
        free(self.text)

    cdef int update(self, const double[:] values, bint zero_is_none) except -1:
        cdef Py_ssize_t series
        cdef double value
        cdef char *text
        cdef char *end
        for series in range(self.length):
            value = values[series]
            text = self.text + NUMBER * series
            if zero_is_none and value == 0:
                text[LENGTH] = 0
                continue
            if text[LENGTH] and memcmp(&value, self.values + series, sizeof(double)) == 0:
                continue
            end = put_double(text, value)
            end[0] = c"\n"
            text[LENGTH] = <char>(end + 1 - text)
            self.values[series] = value
        return 0


cdef class Joined:
    """Many texts, one after another."""

    cdef readonly Py_ssize_t count
    cdef bytes text
    cdef Texts texts
    cdef uint64_t *begin

    def __cinit__(self, list texts):
        cdef Py_ssize_t number
        self.count = len(texts)
        self.text = b"".join(texts)
        self.begin = <uint64_t *>calloc(len(texts) + 1, sizeof(uint64_t))
        if self.begin == NULL:
            raise MemoryError("no room for the labels of a family")
        for number in range(len(texts)):
            self.begin[number + 1] = self.begin[number] + <uint64_t>PyBytes_GET_SIZE(texts[number])
        self.texts.at, self.texts.begin = PyBytes_AS_STRING(self.text), self.begin

    def __dealloc__(self):
        free(self.begin)


cdef class GridLines:
    """The lines of several numbers for each of some series: one of each column, and none for NaN.

    name: what they begin with. labels: of all series, `{` and the labels with a comma behind each. series: which have
    lines, ascending. columns: the labels of each, `} ` behind them. numbers: shape (series, column). rounded: to six
    significant digits.
    """

    cdef Cells cells
    cdef bytes name
    cdef Joined labels, columns
    cdef const int64_t[::1] series
    cdef bytearray numbers

    def __init__(self, bytes name, Joined labels, const int64_t[::1] series, Joined columns,
                 const double[:, ::1] numbers, bint rounded):
        cdef Py_ssize_t count = series.shape[0], width = numbers.shape[1], row, column
        cdef char *text
        cdef char *end
        if numbers.shape[0] != count or columns.count != width or (count and series[count - 1] >= labels.count):
            raise ValueError(f"numbers of {numbers.shape[0]} x {width} for {count} series and {columns.count} columns")
        self.name, self.labels, self.columns, self.series = name, labels, columns, series
        self.numbers = bytearray(max(1, count * width * NUMBER))
        self.cells.count, self.cells.columns, self.cells.name = count, width, text_of(name)
        self.cells.labels, self.cells.column = &labels.texts, &columns.texts
        self.cells.series = &series[0] if count else NULL
        self.cells.numbers = text = self.numbers
        with nogil:
            for row in range(count):
                for column in range(width):
                    if not isnan(numbers[row, column]):
                        end = (put_rounded if rounded else put_exact)(text, numbers[row, column])
                        end[0] = c"\n"
                        text[LENGTH] = <char>(end + 1 - text)
                    text += NUMBER

    cdef size_t room(self):
        """Bytes that every line takes together, at most."""
        cdef size_t length = 0
        cdef Py_ssize_t row
        for row in range(self.cells.count):
            length += self.labels.begin[self.series[row] + 1] - self.labels.begin[self.series[row]]
        return (
            self.cells.columns * (length + self.cells.count * (len(self.name) + NUMBER))
            + self.cells.count * PyBytes_GET_SIZE(self.columns.text)
        )


cdef inline Text text_of(bytes text) noexcept:
    cdef Text made
    made.at, made.length = PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text)
    return made


cdef class FamilyLines:
    """The lines of all series of one family; `update` gives the numbers.

    value, count, created: what begins these lines, empty where there is no such line. labels: for each
    series, what follows that up to the number. before, after: for each series, what stands around a bound.
    """

    cdef Lines lines
    cdef Numbers values, created
    cdef Joined labels, before, bounds, after
    cdef Joined exemplars
    cdef const uint64_t[::1] exemplar_lines
    cdef tuple names
    cdef const uint64_t[:, ::1] counts

    def __init__(
        self, bytes value, bytes count, bytes created, list labels, list before, list bounds, list after
    ):
        self.names = value, count, created
        self.lines.value, self.lines.count = text_of(value), text_of(count)
        self.lines.created = text_of(created)
        self.lines.series, self.lines.buckets = len(labels), len(bounds)
        self.labels, self.before = Joined(labels), Joined(before)
        self.bounds, self.after = Joined(bounds), Joined(after)
        self.lines.labels, self.lines.before = self.labels.texts, self.before.texts
        self.lines.bound, self.lines.after = self.bounds.texts, self.after.texts
        self.values, self.created = Numbers(len(labels)), Numbers(len(labels))
        self.lines.values, self.lines.created_values = self.values.text, self.created.text

    def update(self, const double[:] values, const double[:] created, const uint64_t[:, ::1] counts=None):
        """Numbers for the series, one each, created 0 where unknown; counts for each bucket alone.

        Raises ValueError if there are more or fewer.
        """
        cdef bint fits = values.shape[0] == self.lines.series == created.shape[0]
        if self.lines.buckets:
            fits = fits and counts is not None and counts.shape[0] == self.lines.series
            fits = fits and counts.shape[1] == self.lines.buckets
        if not fits:
            shape = f"{self.lines.series} series of {self.lines.buckets} buckets"
            raise ValueError(f"the lines are of {shape}, the numbers are more or fewer")
        self.values.update(values, False)
        if self.lines.created.length:
            self.created.update(created, True)
        self.counts = counts
        if self.lines.buckets and self.lines.series:
            self.lines.counts = &counts[0, 0]

    def show_exemplars(self, const uint64_t[::1] lines, list texts):
        """Further text for the ends of lines, up to and with the line's end.

        lines: rising numbers of the lines of the buckets, all series counted through; or of the values, where there are
        no buckets. texts: one for each.
        """
        if lines.shape[0] != len(texts):
            raise ValueError(f"{len(texts)} exemplars for {lines.shape[0]} lines")
        self.exemplars, self.exemplar_lines = Joined(texts), lines
        self.lines.exemplar, self.lines.exemplars = self.exemplars.texts, len(texts)
        self.lines.exemplar_lines = &lines[0] if texts else NULL

    cdef size_t room(self):
        """Bytes that every line takes together, at most."""
        cdef Lines *lines = &self.lines
        cdef size_t around = PyBytes_GET_SIZE(self.before.text) + PyBytes_GET_SIZE(self.after.text)
        cdef size_t names = lines.value.length + lines.count.length + lines.created.length
        return (
            lines.buckets * around
            + lines.series * (PyBytes_GET_SIZE(self.bounds.text) + lines.buckets * NUMBER)
            + 3 * PyBytes_GET_SIZE(self.labels.text)
            + lines.series * (names + 3 * NUMBER)
            + (PyBytes_GET_SIZE(self.exemplars.text) if self.exemplars is not None else 0)
        )


def compose(list sections) -> bytes:
    """One text of sections: bytes stand as they are; (lines, samples, created) stands for a family's lines, GridLines
    for their own.

    The GIL is held for none of the writing.
    """
    cdef Py_ssize_t count = len(sections), number
    cdef size_t size = 0
    cdef PyObject *text = NULL
    cdef char *begin
    cdef char *end
    cdef FamilyLines family
    cdef GridLines grid
    cdef Section *parts = <Section *>PyMem_Malloc((count or 1) * sizeof(Section))
    if parts == NULL:
        raise MemoryError("no room for the sections of a text")
    try:
        for number, section in enumerate(sections):
            if isinstance(section, bytes):
                parts[number].part, parts[number].text = VERBATIM, text_of(section)
                size += parts[number].text.length
            elif isinstance(section, GridLines):
                grid = section
                parts[number].part, parts[number].cells = GRID, &grid.cells
                size += grid.room()
            else:
                family, samples, created = section
                parts[number].part = (SAMPLES_AND_CREATED if created else SAMPLES) if samples else CREATED
                parts[number].lines = &family.lines
                size += family.room()
        text = PyBytes_FromStringAndSize(NULL, size)
        begin = end = PyBytes_AS_STRING(<object>text)
        with nogil:
            for number in range(count):
                end = put_section(end, &parts[number])
        _PyBytes_Resize(&text, end - begin)
        return <object>text
    finally:
        PyMem_Free(parts)
        if text != NULL:
            Py_DECREF(<object>text)


def go_string(double value) -> bytes:
    """A number as it stands in the text formats."""
    cdef char text[NUMBER]
    return text[:put_double(text, value) - text]
