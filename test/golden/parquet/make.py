"""Makes the Parquet files of the tests, by Apache Arrow:  pip install pyarrow==25.0.1; python make.py"""
import pyarrow as pa
import pyarrow.parquet as pq

texts = [f'Document {i}: ' + 'pipeline stage of the swarm learns. ' * (i % 7 + 1) + 'ünïcödé 日本語 👍' for i in range(300)]
texts[10], texts[11] = None, ''
table = pa.table({'id': pa.array(range(300), pa.int64()), 'text': pa.array(texts, pa.string())})
for codec in ['zstd', 'snappy', 'gzip', 'brotli', 'lz4']:
    # With a page index some pages can be read by themselves.
    pq.write_table(table, f'{codec}.parquet', compression=codec, row_group_size=100, data_page_size=512, write_page_index=codec == 'zstd')
