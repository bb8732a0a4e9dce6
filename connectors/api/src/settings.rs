//! Configuration values that know where they were written.

/// The keys of one configuration map while they are read.
pub struct Fields<'a>(std::marker::PhantomData<&'a ()>);
