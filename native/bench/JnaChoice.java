import com.sun.jna.Memory;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.function.LongSupplier;

/**
 * What people pick instead of a guard, in Java: JNA in protected mode, its functions mapped directly, which is JNA's
 * fastest way. Works, faults, arguments and answers are those of choice_sigsegv.c; experiments/support/
 * choices-program.ts compiles and starts both.
 */
public final class JnaChoice {
  private static final int INSERTS = 100;
  private static final int SQLITE_ROW = 100;
  private static final int SQLITE_DONE = 101;
  private static final int PLAIN_BYTES = 1 << 20;
  private static final int IMAGE_BYTES = 1 << 16;

  private JnaChoice() {}

  static final class Foreign {
    static native int foreign_divide(int dividend, int divisor);
  }

  static final class Zlib {
    static native int uncompress(Pointer to, Pointer length, Pointer from, long bytes);
  }

  static final class Sqlite {
    static native int sqlite3_open(String path, Pointer db);

    static native int sqlite3_prepare_v2(Pointer db, String sql, int bytes, Pointer statement, Pointer tail);

    static native int sqlite3_bind_int(Pointer statement, int at, int value);

    static native int sqlite3_step(Pointer statement);

    static native int sqlite3_reset(Pointer statement);

    static native int sqlite3_column_int(Pointer statement, int at);
  }

  static final class Libc {
    static native void abort();

    static native Pointer memset(Pointer to, int value, long bytes);
  }

  private static void check(long answer, long wanted, String what) {
    if (answer != wanted) throw new IllegalStateException(what + " answered " + answer + ", not " + wanted);
  }

  private static LongSupplier division(String library) {
    Native.register(Foreign.class, library);
    return () -> Foreign.foreign_divide(84, 2);
  }

  private static LongSupplier inflation(Path directory) throws Exception {
    Native.register(Zlib.class, "libz.so.1");
    byte[] bytes = Files.readAllBytes(directory.resolve("packed"));
    Memory packed = new Memory(bytes.length);
    packed.write(0, bytes, 0, bytes.length);
    Memory plain = new Memory(PLAIN_BYTES);
    Memory length = new Memory(8);
    LongSupplier once =
        () -> {
          length.setLong(0, PLAIN_BYTES);
          check(Zlib.uncompress(plain, length, packed, bytes.length), 0, "uncompress");
          return length.getLong(0);
        };
    check(once.getAsLong(), PLAIN_BYTES, "inflate");
    if (!Arrays.equals(plain.getByteArray(0, PLAIN_BYTES), Files.readAllBytes(directory.resolve("plain"))))
      throw new IllegalStateException("zlib gave back something else");
    return once;
  }

  private static Pointer prepare(Pointer db, String sql) {
    Memory statement = new Memory(8);
    check(Sqlite.sqlite3_prepare_v2(db, sql, -1, statement, null), 0, sql);
    return statement.getPointer(0);
  }

  private static void step(Pointer statement, int wanted) {
    check(Sqlite.sqlite3_step(statement), wanted, "sqlite3_step");
  }

  private static LongSupplier database() {
    Native.register(Sqlite.class, "libsqlite3.so.0");
    Memory opened = new Memory(8);
    check(Sqlite.sqlite3_open(":memory:", opened), 0, "sqlite3_open");
    Pointer db = opened.getPointer(0);
    step(prepare(db, "CREATE TABLE t (value INTEGER)"), SQLITE_DONE);
    Pointer clear = prepare(db, "DELETE FROM t");
    Pointer insert = prepare(db, "INSERT INTO t VALUES (?)");
    Pointer select = prepare(db, "SELECT SUM(value) FROM t");
    return () -> {
      step(clear, SQLITE_DONE);
      Sqlite.sqlite3_reset(clear);
      for (int value = 0; value < INSERTS; value++) {
        Sqlite.sqlite3_bind_int(insert, 1, value);
        step(insert, SQLITE_DONE);
        Sqlite.sqlite3_reset(insert);
      }
      step(select, SQLITE_ROW);
      int sum = Sqlite.sqlite3_column_int(select, 0);
      Sqlite.sqlite3_reset(select);
      return sum;
    };
  }

  private static void work(String library, Path directory, String name) throws Exception {
    LongSupplier once;
    if (name.equals("divide")) once = division(library);
    else if (name.equals("inflate")) once = inflation(directory);
    else if (name.equals("sqlite")) once = database();
    else throw new IllegalArgumentException("no such work");
    BufferedReader orders = new BufferedReader(new InputStreamReader(System.in));
    for (String line = orders.readLine(); line != null; line = orders.readLine()) {
      long times = Long.parseLong(line);
      long answer = 0;
      long start = System.nanoTime();
      for (long at = 0; at < times; at++) answer = once.getAsLong();
      System.out.println((System.nanoTime() - start) + " " + answer);
    }
  }

  private static boolean anyOther(Memory memory, byte wanted) {
    for (byte found : memory.getByteArray(0, (int) memory.size())) if (found != wanted) return true;
    return false;
  }

  private static void harm(String name) {
    Native.register(Libc.class, "libc.so.6");
    Memory heap = new Memory(64);
    heap.clear();
    Memory image = new Memory(IMAGE_BYTES);
    image.setMemory(0, IMAGE_BYTES, (byte) 1);
    String told = "unharmed";
    try {
      if (name.equals("abort")) Libc.abort();
      else if (name.equals("null write")) Libc.memset(null, 0xff, 8);
      else if (name.equals("heap write")) Libc.memset(heap, 0xff, 8);
      else if (name.equals("image write")) Libc.memset(image.share(64), 0xff, 8);
      else throw new IllegalArgumentException("no such harm");
    } catch (Error error) { // JNA's "Invalid memory access" is a java.lang.Error itself
      if (error.getClass() != Error.class) throw error;
      told = "error";
    }
    System.out.print(anyOther(heap, (byte) 0) || anyOther(image, (byte) 1) ? "damaged" : told);
    System.out.flush();
  }

  public static void main(String[] arguments) throws Exception {
    Native.setProtected(true);
    if (!Native.isProtected()) throw new IllegalStateException("JNA has no protected mode here");
    if (arguments[0].equals("work")) work(arguments[1], Path.of(arguments[2]), arguments[3]);
    else harm(arguments[1]);
  }
}
