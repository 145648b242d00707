"""Rows: lines of a CSV file become records. Fields may be in quotes, as RFC 4180 has it, within one line."""

from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memchr, memcpy, memset

cdef extern from "Python.h":
    double PyOS_string_to_double(const char *text, char **end, object overflow) except? -1.0

cdef enum:
    MAX_COLUMNS = 256
    MAX_NUMBER = 64  # characters
    MAX_EXPONENT = 22  # up to which a power of ten is a double

cdef enum Kind:
    IGNORED = 0
    UNSIGNED = 1
    REAL = 2
    AMOUNT = 3   # a real number that is not negative
    TEXT = 4
    TIME = 5     # nanoseconds, of a decimal number in another unit

cdef enum Reason:
    GOOD = 0
    COLUMNS = 1
    NUMBER = 2
    NEGATIVE = 3
    RANGE = 4
    TEXT_LENGTH = 5
    UTF8 = 6
    NUL = 7
    QUOTE = 8
    LONG = 9

MAX_LINE = 64 * 1024  # bytes; longer ones are refused
REASONS = ("", "columns", "number", "negative", "range", "length", "utf8", "nul", "quote", "long")
KINDS = {"ignore": IGNORED, "unsigned": UNSIGNED, "real": REAL, "amount": AMOUNT, "text": TEXT, "time": TIME}

cdef struct Target:
    Kind kind
    uint32_t offset    # in the record
    uint32_t size
    uint32_t decimals  # of a time: digits after the point that make it nanoseconds

cdef double[MAX_EXPONENT + 1] powers
for _at in range(MAX_EXPONENT + 1):
    powers[_at] = float(10**_at)


cdef inline Reason read_unsigned(const char *at, const char *end, uint64_t *value) noexcept nogil:
    cdef uint64_t number = 0, digit
    if at == end:
        return NUMBER
    if at[0] == c"-":
        return NEGATIVE if end - at > 1 and c"0" <= at[1] <= c"9" else NUMBER
    while at != end:
        digit = <uint64_t>(at[0] - c"0")
        if digit > 9:
            return NUMBER
        if number > (<uint64_t>-1 - digit) // 10:
            return RANGE
        number = number * 10 + digit
        at += 1
    value[0] = number
    return GOOD


cdef Reason read_real_slowly(const char *at, const char *end, double *value) noexcept nogil:
    """What is not the plain case, rounded as Python does."""
    cdef char[MAX_NUMBER + 1] text
    cdef uint64_t length = end - at, place
    cdef double number
    if length == 0 or length > MAX_NUMBER:
        return NUMBER
    for place in range(length):
        if at[place] != c"." and at[place] != c"-" and at[place] != c"+" and (at[place] | 32) != c"e" and not (
                c"0" <= at[place] <= c"9"):
            return NUMBER  # names of what is no number, such as nan and inf, among them
    memcpy(text, at, length)
    text[length] = 0
    with gil:
        try:
            number = PyOS_string_to_double(text, NULL, OverflowError)
        except OverflowError:
            return RANGE
        except ValueError:
            return NUMBER
    value[0] = number
    return GOOD


cdef inline Reason read_real(const char *at, const char *end, double *value) noexcept nogil:
    """Up to 15 digits and a point: both the digits and the power of ten are doubles, so one division rounds rightly."""
    cdef const char *begin = at
    cdef uint64_t mantissa = 0, digits = 0, after = 0, digit
    cdef bint negative = at != end and at[0] == c"-", point = False
    at += negative
    while at != end:
        digit = <uint64_t>(at[0] - c"0")
        if digit <= 9:
            mantissa = mantissa * 10 + digit
            digits += 1
            after += point
        elif at[0] == c"." and not point:
            point = True
        else:
            return read_real_slowly(begin, end, value)
        at += 1
        if digits > 15:
            return read_real_slowly(begin, end, value)
    if digits == 0:
        return NUMBER
    value[0] = <double>mantissa / powers[after]
    if negative:
        value[0] = -value[0]
    return GOOD


cdef inline Reason read_time(const char *at, const char *end, uint32_t decimals, uint64_t *value) noexcept nogil:
    """A decimal number, as nanoseconds; digits beyond them are cut."""
    cdef const char *point = <const char *>memchr(at, c".", end - at)
    cdef uint64_t whole = 0, fraction = 0, scale = 1
    cdef uint32_t place
    cdef Reason reason = read_unsigned(at, end if point == NULL else point, &whole)
    if reason != GOOD:
        return reason
    for place in range(decimals):
        scale *= 10
        fraction *= 10
        if point != NULL and point + 1 + place < end:
            if not c"0" <= point[1 + place] <= c"9":
                return NUMBER
            fraction += <uint64_t>(point[1 + place] - c"0")
    if point != NULL and not are_digits(point + 1, end):
        return NUMBER
    if whole > (<uint64_t>-1 - fraction) // scale:
        return RANGE
    value[0] = whole * scale + fraction
    return GOOD


cdef inline bint are_digits(const char *at, const char *end) noexcept nogil:
    if at == end:
        return False
    while at != end:
        if not c"0" <= at[0] <= c"9":
            return False
        at += 1
    return True


cdef Reason check_text(const char *at, uint64_t length) noexcept nogil:
    cdef uint64_t place
    for place in range(length):
        if at[place] & 0x80:
            break
    else:
        return GOOD
    with gil:
        try:
            PyUnicode_DecodeUTF8(at, length, NULL)
        except UnicodeDecodeError:
            return UTF8
    return GOOD


cdef Reason unquote(const char *at, const char *end, char *to, uint64_t room, uint64_t *length,
                    const char **after) noexcept nogil:
    """The text of a field that begins with a quote; what does not fit is counted and not written."""
    cdef uint64_t count = 0
    at += 1
    while at != end:
        if at[0] == c'"':
            at += 1
            if at == end or at[0] != c'"':
                length[0], after[0] = count, at
                return GOOD
        if count < room:
            to[count] = at[0]
        count += 1
        at += 1
    return QUOTE


cdef class Rows:
    """Parses lines into an array of records.

    targets: of each column, in the file's order: (kind, offset in the record, size of the field, decimals), kind one of
    KINDS. line_at, offset_at: offsets in the record of two u8 fields, for the number of the row's line, and for how
    many bytes of the file are taken with it.
    """

    cdef Target[MAX_COLUMNS] targets
    cdef uint32_t columns
    cdef uint32_t line_at
    cdef uint32_t offset_at

    def __init__(self, targets, uint32_t line_at, uint32_t offset_at):
        if not 0 < len(targets) <= MAX_COLUMNS:
            raise ValueError(f"{len(targets)} columns: expected 1 to {MAX_COLUMNS}")
        self.columns, self.line_at, self.offset_at = len(targets), line_at, offset_at
        for at, (kind, offset, size, decimals) in enumerate(targets):
            self.targets[at].kind, self.targets[at].offset = KINDS[kind], offset
            self.targets[at].size, self.targets[at].decimals = size, decimals

    def parse(self, const unsigned char[::1] data, size_t begin, unsigned char[:, ::1] records, size_t first,
              uint64_t offset, uint64_t line) -> tuple[int, int, int, str]:
        """Parse whole lines from `begin` on into records from `first` on.

        records: shape (n, size of a record). offset: bytes of the file before the data. line: number of the first line,
        from 1. Ends where the records are full, where no whole line is left, and behind a line that is refused; blank
        lines are passed over. Returns (records filled, where it ended, number of the next line, reason of a refusal or
        "").
        """
        cdef size_t at = begin, end = data.shape[0], filled = first, room = records.shape[0]
        cdef const char *text = <const char *>&data[0] if end else NULL
        cdef const char *newline
        cdef Reason reason = GOOD
        cdef unsigned char *record
        cdef uint64_t place, size, longest = MAX_LINE
        with nogil:
            while filled < room and at < end and reason == GOOD:
                newline = <const char *>memchr(text + at, c"\n", end - at)
                if newline == NULL:
                    break
                size = newline - (text + at)
                if size and text[at + size - 1] == c"\r":
                    size -= 1
                if size:
                    record = &records[filled, 0]
                    reason = self.row(text + at, text + at + size, record) if size <= longest else LONG
                    if reason == GOOD:
                        place = offset + <uint64_t>(newline - text) + 1
                        memcpy(record + self.offset_at, &place, 8)
                        memcpy(record + self.line_at, &line, 8)
                        filled += 1
                line += 1
                at = newline - text + 1
        return filled - first, at, line, REASONS[reason]

    cdef Reason row(self, const char *at, const char *end, unsigned char *record) noexcept nogil:
        cdef uint32_t column = 0
        cdef const char *comma
        cdef Reason reason
        cdef bint more = True
        if memchr(at, 0, end - at) != NULL:
            return NUL
        while more:
            if column == self.columns:
                return COLUMNS
            if at != end and at[0] == c'"':
                reason = self.quoted(&self.targets[column], at, end, record, &comma)
                if reason == GOOD and comma != end and comma[0] != c",":
                    reason = QUOTE
            else:
                comma = <const char *>memchr(at, c",", end - at)
                if comma == NULL:
                    comma = end
                reason = fill(&self.targets[column], at, comma, record)
            if reason != GOOD:
                return reason if reason == QUOTE or count_columns(at, end) == self.columns - column else COLUMNS
            column += 1
            more = comma != end
            at = comma + 1
        return GOOD if column == self.columns else COLUMNS

    cdef Reason quoted(self, const Target *target, const char *at, const char *end, unsigned char *record,
                       const char **after) noexcept nogil:
        cdef char[1024] text
        cdef uint64_t length = 0
        cdef Reason reason = unquote(at, end, text, sizeof(text), &length, after)
        if reason != GOOD or target.kind == IGNORED:
            return reason
        if length > sizeof(text):
            return TEXT_LENGTH
        return fill(target, text, text + length, record)


cdef uint64_t count_columns(const char *at, const char *end) noexcept nogil:
    """How many columns there are from here on; one in quotes counts as many as it has commas."""
    cdef uint64_t count = 1
    while at != end:
        count += at[0] == c","
        at += 1
    return count


cdef Reason fill(const Target *target, const char *at, const char *end, unsigned char *record) noexcept nogil:
    """One field of a record."""
    cdef uint64_t number = 0
    cdef double real = 0
    cdef Reason reason = GOOD
    if target.kind == IGNORED:
        return GOOD
    if target.kind == TEXT:
        if <uint64_t>(end - at) > target.size:
            return TEXT_LENGTH
        memset(record + target.offset, 0, target.size)
        memcpy(record + target.offset, at, end - at)
        return check_text(at, end - at)
    while at != end and (at[0] == c" " or at[0] == c"\t"):
        at += 1
    while at != end and ((end - 1)[0] == c" " or (end - 1)[0] == c"\t"):
        end -= 1
    if target.kind == UNSIGNED or target.kind == TIME:
        if target.kind == UNSIGNED:
            reason = read_unsigned(at, end, &number)
        else:
            reason = read_time(at, end, target.decimals, &number)
        memcpy(record + target.offset, &number, 8)
        return reason
    reason = read_real(at, end, &real)
    if reason == GOOD and target.kind == AMOUNT and real < 0:
        return NEGATIVE
    memcpy(record + target.offset, &real, 8)
    return reason
