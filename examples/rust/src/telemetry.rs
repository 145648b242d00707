//! The C face, made safe: a telemetry belongs to one thread and outlives its handles.
use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::marker::PhantomData;
use std::ptr::{null, null_mut};

extern "C" {
    fn telemetry_open(opened: *mut *mut c_void, name: *const c_char, space: *const c_char) -> c_int;
    fn telemetry_close(telemetry: *mut c_void);
    fn telemetry_error(error: c_int) -> *const c_char;
    fn counter_size() -> usize;
    fn counter_add(
        telemetry: *mut c_void, name: *const c_char, help: *const c_char, labels: *const *const c_char,
        values: *const *const c_char, counter: *mut c_void,
    ) -> c_int;
    fn counter_emit(counter: *const c_void, amount: f64) -> c_int;
    fn histogram_size() -> usize;
    fn histogram_add(
        telemetry: *mut c_void, name: *const c_char, help: *const c_char, histogram: *mut c_void,
    ) -> c_int;
    fn histogram_emit(histogram: *const c_void, value: f64) -> c_int;
}

fn text(string: &str) -> Result<CString, String> {
    CString::new(string).map_err(|error| error.to_string())
}

fn checked(error: c_int) -> Result<(), String> {
    match error {
        0 => Ok(()),
        _ => Err(unsafe { CStr::from_ptr(telemetry_error(error)) }.to_string_lossy().into_owned()),
    }
}

/// The pointers to some strings, and a null behind them.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([null()]).collect()
}

pub struct Telemetry(*mut c_void);

/// What C knows as a handle: a few words whose size C says.
struct Handle(Box<[u64]>);

impl Handle {
    fn of(size: usize) -> Self {
        Handle(vec![0; size.div_ceil(8)].into_boxed_slice())
    }
    fn place(&mut self) -> *mut c_void {
        self.0.as_mut_ptr().cast()
    }
    fn there(&self) -> *const c_void {
        self.0.as_ptr().cast()
    }
}

pub struct Counter<'a>(Handle, PhantomData<&'a Telemetry>);
pub struct Histogram<'a>(Handle, PhantomData<&'a Telemetry>);

impl Telemetry {
    pub fn open(name: &str, space: &str) -> Result<Self, String> {
        let mut opened = null_mut();
        checked(unsafe { telemetry_open(&mut opened, text(name)?.as_ptr(), text(space)?.as_ptr()) })?;
        Ok(Telemetry(opened))
    }

    pub fn counter(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> Result<Counter<'_>, String> {
        let names = labels.iter().map(|(name, _)| text(name)).collect::<Result<Vec<_>, _>>()?;
        let values = labels.iter().map(|(_, value)| text(value)).collect::<Result<Vec<_>, _>>()?;
        let (name, help) = (text(name)?, text(help)?);
        let mut handle = Handle::of(unsafe { counter_size() });
        let (names, values) = (pointers(&names), pointers(&values));
        checked(unsafe {
            counter_add(self.0, name.as_ptr(), help.as_ptr(), names.as_ptr(), values.as_ptr(), handle.place())
        })?;
        Ok(Counter(handle, PhantomData))
    }

    pub fn histogram(&self, name: &str, help: &str) -> Result<Histogram<'_>, String> {
        let mut handle = Handle::of(unsafe { histogram_size() });
        checked(unsafe { histogram_add(self.0, text(name)?.as_ptr(), text(help)?.as_ptr(), handle.place()) })?;
        Ok(Histogram(handle, PhantomData))
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        unsafe { telemetry_close(self.0) }
    }
}

impl Counter<'_> {
    pub fn emit(&self, amount: f64) -> bool {
        unsafe { counter_emit(self.0.there(), amount) != 0 }
    }
}

impl Histogram<'_> {
    pub fn emit(&self, value: f64) -> bool {
        unsafe { histogram_emit(self.0.there(), value) != 0 }
    }
}
