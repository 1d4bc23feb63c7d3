//! Arrow columns: dictionary-encoded names, nullable numbers, IPC streams of one batch.

use std::io::Cursor;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::builder::StringDictionaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, UInt8Type, UInt64Type};
use arrow_array::{
    Array, ArrayAccessor, ArrayRef, BinaryArray, FixedSizeListArray, Float64Array, Int64Array,
    PrimitiveArray, RecordBatch, StringArray, TypedDictionaryArray, UInt8Array, UInt64Array,
};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::{
    DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions, write_message,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use bytes::Bytes;

/// A batch that is larger when unpacked is refused: nothing of ours writes one.
const ROWS_MAX: usize = 1_000_000;
/// Encoded schemas kept: what containers of one host tell differs little.
const HEADS_MAX: usize = 32;
/// Where a matrix says what its numbers are: names with commas between.
const MATRIX_NAMES: &str = "names";
/// The continuation marker, and no message after it.
const END_OF_STREAM: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// Collects columns in order.
#[derive(Default)]
pub(crate) struct Batch {
    fields: Vec<Field>,
    columns: Vec<ArrayRef>,
}

impl Batch {
    pub(crate) fn names<'a>(&mut self, name: &str, values: impl Iterator<Item = &'a str>) {
        let mut builder = StringDictionaryBuilder::<Int32Type>::new();
        for value in values {
            builder.append_value(value);
        }
        self.push(name, Arc::new(builder.finish()));
    }

    /// Names that hardly repeat within a batch: a dictionary would be a copy of the column, and costs more than all the rest.
    pub(crate) fn plain_names<'a>(&mut self, name: &str, values: impl Iterator<Item = &'a str>) {
        self.push(name, Arc::new(StringArray::from_iter_values(values)));
    }

    pub(crate) fn times(&mut self, name: &str, values: impl Iterator<Item = i64>) {
        self.push(name, Arc::new(Int64Array::from_iter_values(values)));
    }

    pub(crate) fn counts(&mut self, name: &str, values: impl Iterator<Item = u64>) {
        self.push(name, Arc::new(UInt64Array::from_iter_values(values)));
    }

    pub(crate) fn codes(&mut self, name: &str, values: impl Iterator<Item = u8>) {
        self.push(name, Arc::new(UInt8Array::from_iter_values(values)));
    }

    /// Numbers of which some may not have been read. A column with none is left out: readers take that as not read.
    pub(crate) fn numbers(
        &mut self,
        name: &str,
        values: impl Iterator<Item = Option<f64>> + Clone,
    ) {
        if values.clone().any(|value| value.is_some()) {
            self.push(name, Arc::new(Float64Array::from_iter(values)));
        }
    }

    /// Numbers of which some may not have been read, as many a row as there are names, in one column: sixty columns of a few
    /// rows each would cost more than their content. What the numbers are stands with the column, under [`MATRIX_NAMES`];
    /// without names there is no column.
    ///
    /// # Errors
    /// When there are not as many numbers as rows and names make.
    pub(crate) fn matrix<'a>(
        &mut self,
        name: &str,
        names: impl Iterator<Item = &'a str> + Clone,
        values: impl Iterator<Item = Option<f64>>,
    ) -> Result<(), ArrowError> {
        let width = i32::try_from(names.clone().count())
            .map_err(|_| ArrowError::InvalidArgumentError(format!("column {name} is too wide")))?;
        if width == 0 {
            return Ok(());
        }
        let item = Arc::new(Field::new_list_field(DataType::Float64, true));
        let values: ArrayRef = Arc::new(Float64Array::from_iter(values));
        let column = FixedSizeListArray::try_new(item, width, values, None)?;
        let text: Vec<&str> = names.collect();
        let text = (MATRIX_NAMES.to_owned(), text.join(","));
        let field = Field::new(name, column.data_type().clone(), true);
        self.fields.push(field.with_metadata([text]));
        self.columns.push(Arc::new(column));
        Ok(())
    }

    pub(crate) fn push(&mut self, name: &str, column: ArrayRef) {
        self.fields
            .push(Field::new(name, column.data_type().clone(), true));
        self.columns.push(column);
    }

    pub(crate) fn encode(self) -> Result<Bytes, ArrowError> {
        let schema = Arc::new(Schema::new(self.fields));
        let batch = RecordBatch::try_new(Arc::clone(&schema), self.columns)?;
        let options = IpcWriteOptions::default();
        let mut tracker = DictionaryTracker::new(false);
        let head = Head::of(&schema, &mut tracker, &options)?;
        let (dictionaries, rows) = IpcDataGenerator::default().encode(
            &batch,
            &mut tracker,
            &options,
            &mut IpcWriteContext::default(),
        )?;
        let mut stream = Vec::with_capacity(head.len() + batch.get_array_memory_size());
        stream.extend_from_slice(&head);
        for message in dictionaries.into_iter().chain([rows]) {
            write_message(&mut stream, message, &options)?;
        }
        stream.extend_from_slice(&END_OF_STREAM);
        Ok(Bytes::from(stream))
    }
}

/// The message that begins a stream: its schema. Batches of one kind have the same one again and again, and with fifty columns
/// writing it costs as much as writing a few rows, so the last few are kept.
struct Head;

static HEADS: Mutex<Vec<(SchemaRef, Bytes)>> = Mutex::new(Vec::new());

impl Head {
    /// The encoded schema; the tracker learns the ids of its dictionaries, which are numbered in order.
    fn of(
        schema: &SchemaRef,
        tracker: &mut DictionaryTracker,
        options: &IpcWriteOptions,
    ) -> Result<Bytes, ArrowError> {
        // Whole entries are put in and taken out: a panic elsewhere leaves none half written.
        let mut heads = HEADS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, head)) = heads.iter().find(|(known, _)| known == schema) {
            for field in schema.fields() {
                if let DataType::Dictionary(..) = field.data_type() {
                    tracker.next_dict_id();
                }
            }
            return Ok(head.clone());
        }
        let message = IpcDataGenerator::default()
            .schema_to_bytes_with_dictionary_tracker(schema, tracker, options);
        let mut head = Vec::new();
        write_message(&mut head, message, options)?;
        let head = Bytes::from(head);
        if heads.len() == HEADS_MAX {
            heads.remove(0);
        }
        heads.push((Arc::clone(schema), head.clone()));
        Ok(head)
    }
}

/// A column of names.
pub(crate) enum Names<'a> {
    Dictionary(TypedDictionaryArray<'a, Int32Type, StringArray>),
    Plain(&'a StringArray),
}

impl Names<'_> {
    /// The name in this row, which must be one of the batch.
    pub(crate) fn value(&self, row: usize) -> &str {
        match self {
            Names::Dictionary(names) => names.value(row),
            Names::Plain(names) => names.value(row),
        }
    }
}

/// A column of as many numbers a row as there are names.
pub(crate) struct Matrix<'a> {
    pub(crate) names: Vec<&'a str>,
    values: &'a Float64Array,
}

impl Matrix<'_> {
    /// The number of this row and name, both of which must be there; `None` when it was not read.
    pub(crate) fn value(&self, row: usize, name: usize) -> Option<f64> {
        let at = row * self.names.len() + name;
        self.values.is_valid(at).then(|| self.values.value(at))
    }
}

/// One decoded batch, its columns looked up by name.
pub(crate) struct Columns(RecordBatch);

impl Columns {
    /// Reads the single batch of an IPC stream.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Columns, String> {
        // The decoder checks what it is told to read, but has panicked on hostile lengths before: a panic here is an error like any other.
        let read = std::panic::catch_unwind(|| {
            let mut reader = StreamReader::try_new(Cursor::new(bytes), None)?;
            reader.next().unwrap_or_else(|| {
                Err(ArrowError::IpcError("the stream holds no batch".to_owned()))
            })
        });
        let batch = match read {
            Ok(batch) => batch.map_err(|error| error.to_string())?,
            Err(_) => return Err("the Arrow decoder gave up on these bytes".to_owned()),
        };
        if batch.num_rows() > ROWS_MAX {
            return Err(format!(
                "{} rows are more than the {ROWS_MAX} allowed",
                batch.num_rows()
            ));
        }
        Ok(Columns(batch))
    }

    pub(crate) fn rows(&self) -> usize {
        self.0.num_rows()
    }

    /// Names, whether they were written by a dictionary or plainly.
    pub(crate) fn names(&self, name: &str) -> Result<Names<'_>, String> {
        let column = self.column(name)?;
        complete(name, column)?;
        if let Some(plain) = column.as_string_opt::<i32>() {
            return Ok(Names::Plain(plain));
        }
        column
            .as_any_dictionary_opt()
            .and_then(|_| column.as_dictionary_opt::<Int32Type>())
            .and_then(|dictionary| dictionary.downcast_dict::<StringArray>())
            .map(Names::Dictionary)
            .ok_or_else(|| mistyped(name, "dictionary of text", column.data_type()))
    }

    pub(crate) fn text(&self, name: &str) -> Result<&StringArray, String> {
        let column = self.column(name)?;
        complete(name, column)?;
        column
            .as_string_opt::<i32>()
            .ok_or_else(|| mistyped(name, "text", column.data_type()))
    }

    pub(crate) fn times(&self, name: &str) -> Result<&PrimitiveArray<Int64Type>, String> {
        let column = self.column(name)?;
        complete(name, column)?;
        column
            .as_primitive_opt()
            .ok_or_else(|| mistyped(name, "64-bit integer", column.data_type()))
    }

    pub(crate) fn counts(&self, name: &str) -> Result<&PrimitiveArray<UInt64Type>, String> {
        let column = self.column(name)?;
        complete(name, column)?;
        column
            .as_primitive_opt()
            .ok_or_else(|| mistyped(name, "64-bit count", column.data_type()))
    }

    pub(crate) fn codes(&self, name: &str) -> Result<&PrimitiveArray<UInt8Type>, String> {
        let column = self.column(name)?;
        complete(name, column)?;
        column
            .as_primitive_opt()
            .ok_or_else(|| mistyped(name, "8-bit code", column.data_type()))
    }

    /// The numbers of a column; `None` when the batch does not have it.
    pub(crate) fn numbers(
        &self,
        name: &str,
    ) -> Result<Option<&PrimitiveArray<Float64Type>>, String> {
        let Some(column) = self.0.column_by_name(name) else {
            return Ok(None);
        };
        column
            .as_primitive_opt()
            .map(Some)
            .ok_or_else(|| mistyped(name, "64-bit number", column.data_type()))
    }

    /// As [`Columns::counts`]; `None` when the batch does not have the column.
    pub(crate) fn counts_if_any(
        &self,
        name: &str,
    ) -> Result<Option<&PrimitiveArray<UInt64Type>>, String> {
        self.has(name).then(|| self.counts(name)).transpose()
    }

    /// Text of which some may be absent; `None` when the batch does not have the column.
    pub(crate) fn text_if_any(&self, name: &str) -> Result<Option<&StringArray>, String> {
        let Some(column) = self.0.column_by_name(name) else {
            return Ok(None);
        };
        column
            .as_string_opt::<i32>()
            .map(Some)
            .ok_or_else(|| mistyped(name, "text", column.data_type()))
    }

    /// Bytes of which some may be absent; `None` when the batch does not have the column.
    pub(crate) fn bytes_if_any(&self, name: &str) -> Result<Option<&BinaryArray>, String> {
        let Some(column) = self.0.column_by_name(name) else {
            return Ok(None);
        };
        column
            .as_binary_opt::<i32>()
            .map(Some)
            .ok_or_else(|| mistyped(name, "bytes", column.data_type()))
    }

    /// A matrix; `None` when the batch does not have the column.
    pub(crate) fn matrix(&self, name: &str) -> Result<Option<Matrix<'_>>, String> {
        let Some((at, field)) = self.0.schema_ref().column_with_name(name) else {
            return Ok(None);
        };
        let column = self.0.column(at);
        complete(name, column)?;
        let names = field.metadata().get(MATRIX_NAMES);
        let names: Vec<&str> = names.map_or_else(Vec::new, |it| it.split(',').collect());
        let list = column
            .as_fixed_size_list_opt()
            .filter(|list| usize::try_from(list.value_length()) == Ok(names.len()));
        list.and_then(|list| list.values().as_primitive_opt::<Float64Type>())
            .map(|values| Some(Matrix { names, values }))
            .ok_or_else(|| {
                mistyped(
                    name,
                    "list of as many numbers as it names",
                    column.data_type(),
                )
            })
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.column_by_name(name).is_some()
    }

    fn column(&self, name: &str) -> Result<&ArrayRef, String> {
        self.0
            .column_by_name(name)
            .ok_or_else(|| format!("column {name} is missing"))
    }
}

fn complete(name: &str, column: &ArrayRef) -> Result<(), String> {
    if column.logical_null_count() > 0 {
        return Err(format!("column {name} has rows without a value"));
    }
    Ok(())
}

fn mistyped(name: &str, wanted: &str, found: &DataType) -> String {
    format!("column {name} is {found}, not a {wanted}")
}
