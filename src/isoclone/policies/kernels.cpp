// The convolutions of a narrow `cnn`, forward and backward, for one set of sizes.
//
// policies/kernels.py has them compiled on the machine that runs them, with the sizes WIDTH, STACK,
// ROWS and COLS (of pictures in 4x4 blocks), and HALF: 1 for products of bfloat16, where processors
// multiply two pairs and add them up in float32 at once; 0 for float32. The lanes of a vector are
// output channels of one place, and sums run over the inputs, always in the same order.
//
// Arrays begin at a line of the cache, so that no vector lies across two where it need not.
//
// The 8x8 kernels of the first layer are cut into four pieces of 4x4, each an output of its own, so
// that vectors are full where a layer has few outputs; sums take their pieces from neighbours.

#include <cstddef>
#include <cstring>
#if HALF
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
constexpr int NATIVE = 16, REGISTERS = 26;  // lanes of a vector; vectors that sums may take
#elif defined(__AVX__)
constexpr int NATIVE = 8, REGISTERS = 12;
#else
constexpr int NATIVE = 4, REGISTERS = 16;
#endif

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

// Where sizes and distances are constants, a tile's addresses take no registers of their own.
#define INLINE __attribute__((always_inline)) static inline

constexpr int least(int a, int b) { return a < b ? a : b; }
constexpr int lanes(int n) { return n <= 4 ? 4 : n <= 8 ? least(8, NATIVE) : NATIVE; }
constexpr int vectors(int n) { return (n + lanes(n) - 1) / lanes(n); }
constexpr int padded(int n) { return vectors(n) * lanes(n); }

template <int L> struct Lanes {
    typedef float vector __attribute__((vector_size(4 * L), aligned(4), may_alias));
};
template <int N> using Vector = typename Lanes<lanes(N)>::vector;  // that suits N outputs
template <int N> static inline Vector<N> &at(float *x) { return *(Vector<N> *)x; }
template <int N> static inline Vector<N> at(const float *x) { return *(const Vector<N> *)x; }

// Numbers are what products are of, as they lie in memory; an operand is as many of them, which lie
// side by side in the direction that is summed over, as one product takes.
#if HALF
typedef unsigned short Number;
typedef unsigned Operand __attribute__((aligned(2), may_alias));
constexpr int PAIR = 2;

static inline Number number(float x) {  // the nearest one, to even
    unsigned bits;
    std::memcpy(&bits, &x, 4);
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
// sum + the products of one operand and those of a vector
template <int L>
static inline typename Lanes<L>::vector plus(typename Lanes<L>::vector sum, Operand x,
                                             const Operand *w) {
    if constexpr (L == 16)
        return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(x),
                                (__m512bh)_mm512_loadu_si512(w));
    else if constexpr (L == 8)
        return _mm256_dpbf16_ps(sum, (__m256bh)_mm256_set1_epi32(x),
                                (__m256bh)_mm256_loadu_si256((const __m256i *)w));
    else
        return _mm_dpbf16_ps(sum, (__m128bh)_mm_set1_epi32(x),
                             (__m128bh)_mm_loadu_si128((const __m128i *)w));
}
#else
typedef float Number;
typedef float Operand;
constexpr int PAIR = 1;

static inline Number number(float x) { return x; }
template <int L>
static inline typename Lanes<L>::vector plus(typename Lanes<L>::vector sum, Operand x,
                                             const Operand *w) {
    return sum + x * *(const typename Lanes<L>::vector *)w;
}
#endif
constexpr int pairs(int n) { return (n + PAIR - 1) / PAIR; }

constexpr int INPUTS = STACK * 16, PIECES = 4 * WIDTH, TWICE = 2 * WIDTH;
constexpr int ROWS1 = ROWS - 1, COLS1 = COLS - 1;  // places of each layer's output
constexpr int ROWS2 = (ROWS1 - 4) / 2 + 1, COLS2 = (COLS1 - 4) / 2 + 1;
constexpr int ROWS3 = ROWS2 - 2, COLS3 = COLS2 - 2;
constexpr int SIZE1 = ROWS1 * COLS1 * WIDTH, SIZE2 = ROWS2 * COLS2 * TWICE,
              SIZE3 = ROWS3 * COLS3 * TWICE;
constexpr int SLACK = 16;  // floats beyond an array, as whole vectors may read and write

// -------------------------------------------------------------------------- products
//
// Each comes in three functions: a tile whose sums stay in registers, all places of so many vectors,
// and all vectors, up to four at once so that there is room for several places.

// y[m, :] += the sum over k of x[m, k] w[k, :], for `depth` operands. Rows of y are stored in turn,
// as the last vector of one may reach into the next.
template <int M, int NV, int L>
INLINE void product_tile(int depth, const Operand *x, ptrdiff_t x_row, const Operand *w,
                        ptrdiff_t w_row, float *y, ptrdiff_t y_row) {
    using V = typename Lanes<L>::vector;
    V sum[M][NV];
    UNROLL for (int m = 0; m < M; m++)
        UNROLL for (int n = 0; n < NV; n++) sum[m][n] = *(const V *)(y + m * y_row + n * L);
    for (int k = 0; k < depth; k++)
        UNROLL for (int m = 0; m < M; m++)
            UNROLL for (int n = 0; n < NV; n++)
                sum[m][n] = plus<L>(sum[m][n], x[m * x_row + k], w + k * w_row + n * L);
    UNROLL for (int m = 0; m < M; m++)
        UNROLL for (int n = 0; n < NV; n++) *(V *)(y + m * y_row + n * L) = sum[m][n];
}

// How far apart places begin: those below one another, and those side by side.
struct Apart {
    ptrdiff_t down, right;
};

template <int M_ALL, int NV, int L>
INLINE void product_rows(int rows, int depth, const Operand *x, Apart x_apart,
                        const Operand *w, ptrdiff_t w_row, float *y, Apart y_apart) {
    constexpr int MOST = least(12, REGISTERS / NV), TILES = (M_ALL + MOST - 1) / MOST;
    constexpr int M = (M_ALL + TILES - 1) / TILES, WHOLE = M_ALL / M, REST = M_ALL % M;
    const ptrdiff_t x_row = x_apart.right, y_row = y_apart.right;
    for (int i = 0; i < rows; i++, x += x_apart.down, y += y_apart.down) {
        for (int t = 0; t < WHOLE; t++)
            product_tile<M, NV, L>(depth, x + t * M * x_row, x_row, w, w_row, y + t * M * y_row,
                                   y_row);
        if constexpr (REST > 0)
            product_tile<REST, NV, L>(depth, x + WHOLE * M * x_row, x_row, w, w_row,
                                      y + WHOLE * M * y_row, y_row);
    }
}

// Of `rows` times M_ALL places, each with `depth` inputs and N outputs. Weights of a few outputs
// stay in the nearest cache for all places.
template <int M_ALL, int N>
INLINE void product(int rows, int depth, const Number *x, Apart x_apart, const Number *w,
                   float *y, Apart y_apart) {
    constexpr int L = lanes(N), ALL = vectors(N), NV = least(ALL, 4), REST = ALL % NV;
    const Operand *from = (const Operand *)x, *by = (const Operand *)w;
    x_apart.down /= PAIR, x_apart.right /= PAIR, depth /= PAIR;
    for (int v = 0; v + NV <= ALL; v += NV)
        product_rows<M_ALL, NV, L>(rows, depth, from, x_apart, by + v * L, ALL * L, y + v * L,
                                   y_apart);
    if constexpr (REST > 0)
        product_rows<M_ALL, REST, L>(rows, depth, from, x_apart, by + (ALL - REST) * L, ALL * L,
                                     y + (ALL - REST) * L, y_apart);
}

// The places of an output, side by side in operands, and how far apart in operands the inputs of
// neighbours begin.
struct Places {
    int rows, cols;
    ptrdiff_t down, right;
};

// dw[k, :] += the sum over places of x[place, k] g[place, :]
template <int M, int NV, int L>
INLINE void outer_tile(Places at, const Operand *x, const Operand *g, ptrdiff_t row,
                      float *dw) {
    using V = typename Lanes<L>::vector;
    V sum[M][NV];
    UNROLL for (int m = 0; m < M; m++)
        UNROLL for (int n = 0; n < NV; n++) sum[m][n] = *(const V *)(dw + m * row + n * L);
    for (int i = 0; i < at.rows; i++)
        for (int j = 0; j < at.cols; j++) {
            const Operand *from = x + i * at.down + j * at.right, *by = g + (i * at.cols + j) * row;
            UNROLL for (int m = 0; m < M; m++)
                UNROLL for (int n = 0; n < NV; n++) sum[m][n] = plus<L>(sum[m][n], from[m], by + n * L);
        }
    UNROLL for (int m = 0; m < M; m++)
        UNROLL for (int n = 0; n < NV; n++) *(V *)(dw + m * row + n * L) = sum[m][n];
}

template <int K, int NV, int L>
INLINE void outer_rows(Places at, const Operand *x, const Operand *g, ptrdiff_t row,
                      float *dw) {
    constexpr int M = least(K, least(16, REGISTERS / NV)), WHOLE = K / M, REST = K % M;
    for (int t = 0; t < WHOLE; t++)
        outer_tile<M, NV, L>(at, x + t * M, g, row, dw + t * M * row);
    if constexpr (REST > 0)
        outer_tile<REST, NV, L>(at, x + WHOLE * M, g, row, dw + WHOLE * M * row);
}

template <int K, int N>
INLINE void outer(Places at, const Operand *x, const Operand *g, float *dw) {
    constexpr int L = lanes(N), ALL = vectors(N), NV = least(ALL, 4), REST = ALL % NV;
    for (int v = 0; v + NV <= ALL; v += NV)
        outer_rows<K, NV, L>(at, x, g + v * L, ALL * L, dw + v * L);
    if constexpr (REST > 0)
        outer_rows<K, REST, L>(at, x, g + (ALL - REST) * L, ALL * L, dw + (ALL - REST) * L);
}

// -------------------------------------------------------------------------- rows of numbers

// What is no number stays so: a run that diverges has to show it.
template <int N, typename To> static inline void relu(const float *x, To *to) {
    for (int c = 0; c < N; c++) {
        float y = x[c] <= 0 ? 0 : x[c];
        if constexpr (sizeof(To) == sizeof(float)) to[c] = y;
        else to[c] = number(y);
    }
}

// The gradient of relu, where it gave `out`, which is never below 0.
template <int N, typename Out>
static inline void masked(const Out *out, const float *dout, float *to) {
    for (int c = 0; c < N; c++) to[c] = out[c] <= 0 ? 0 : dout[c];
}

#if HALF
static inline Number as_number(float x) { return number(x); }
static inline Number as_number(Number x) { return x; }

// Rows of N numbers or floats, which begin `apart`, as operands of neighbours: one row for each pair.
template <int N, typename From>
static inline void side_by_side(const From *x, int rows, ptrdiff_t apart, ptrdiff_t to_row,
                                Operand *to) {
    static const From none[N] = {};
    for (int i = 0; i < rows; i += PAIR, x += PAIR * apart, to += to_row) {
        const From *next = i + 1 < rows ? x + apart : none;
        for (int c = 0; c < N; c++)
            to[c] = as_number(x[c]) | (unsigned)as_number(next[c]) << 16;
    }
}
#endif

// Copy N numbers in whole vectors: what lies behind them is overwritten.
template <int N> static inline void copy(const float *from, float *to) {
    for (int c = 0; c < N; c += lanes(N)) at<N>(to + c) = at<N>(from + c);
}

// total[:N] += the sum of so many rows of N.
template <int N> static inline void add_rows(int rows, const float *x, float *total) {
    Vector<N> sum[vectors(N)] = {};
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors(N); v++)
            sum[v] += at<N>(x + i * N + v * lanes(N));
    for (int c = 0; c < N; c++) total[c] += ((const float *)sum)[c];
}

// -------------------------------------------------------------------------- the first layer

struct First {
    static constexpr int ROW = padded(PIECES), GRID = COLS1 + 2, PLACES = ROWS * COLS;
    alignas(64) Number w[INPUTS * ROW];
    alignas(64) float dw[INPUTS * ROW], db[WIDTH];
    alignas(64) float pieces[PLACES * ROW + SLACK], start[padded(WIDTH)];
    alignas(64) float line[COLS1 * WIDTH + SLACK];
    alignas(64) float g[(ROWS1 + 2) * GRID * WIDTH + SLACK];  // with a border of zeros
    alignas(64) Operand x_pairs[HALF ? pairs(PLACES) * INPUTS : 1];
    alignas(64) Operand g_pairs[HALF ? pairs(PLACES) * ROW : 1];

    // Where weights (WIDTH, 8, 8, STACK) have that of an input of a piece.
    static ptrdiff_t place(int piece, int input) {
        int corner = piece / WIDTH, row = corner / 2 * 4 + input % 16 / 4;
        int col = corner % 2 * 4 + input % 4;
        return ((piece % WIDTH * 8 + row) * 8 + col) * STACK + input / 16;
    }
    void load(const float *from, float scale) {
        for (int k = 0; k < INPUTS; k++)
            for (int p = 0; p < ROW; p++)
                w[(k / PAIR * ROW + p) * PAIR + k % PAIR] =
                    number(p < PIECES ? scale * from[place(p, k)] : 0);
    }
    void clear() {
        for (float &x : dw) x = 0;
        for (float &x : db) x = 0;
    }
    void unload(float scale, float *weights, float *bias) const {
        for (int k = 0; k < INPUTS; k++)
            for (int p = 0; p < PIECES; p++) weights[place(p, k)] = scale * dw[k * ROW + p];
        for (int c = 0; c < WIDTH; c++) bias[c] = db[c];
    }
    void forward(const Number *x, const float *bias, Number *out) {
        for (float &piece : pieces) piece = 0;
        for (int c = 0; c < WIDTH; c++) start[c] = bias[c];
        product<COLS, PIECES>(ROWS, INPUTS, x, {COLS * INPUTS, INPUTS}, w, pieces,
                              {COLS * ROW, ROW});
        for (int i = 0; i < ROWS1; i++, out += COLS1 * WIDTH) {
            for (int j = 0; j < COLS1; j++) {
                const float *here = pieces + (i * COLS + j) * ROW, *below = here + COLS * ROW;
                for (int c = 0; c < WIDTH; c += lanes(WIDTH))  // in whole vectors, as `copy`
                    at<WIDTH>(line + j * WIDTH + c) =
                        at<WIDTH>(start + c) + at<WIDTH>(here + c) +
                        at<WIDTH>(here + ROW + WIDTH + c) + at<WIDTH>(below + 2 * WIDTH + c) +
                        at<WIDTH>(below + ROW + 3 * WIDTH + c);
            }
            relu<COLS1 * WIDTH>(line, out);
        }
    }
    void backward(const Number *x, const Number *out, const float *dout) {
        for (int i = 0; i < ROWS1; i++) {
            float *row = g + ((i + 1) * GRID + 1) * WIDTH;
            masked<COLS1 * WIDTH>(out + i * COLS1 * WIDTH, dout + i * COLS1 * WIDTH, row);
            add_rows<WIDTH>(COLS1, row, db);
        }
        for (int i = 0; i < ROWS; i++)
            for (int j = 0; j < COLS; j++) {  // in this order, as copies write too much
                float *to = pieces + (i * COLS + j) * ROW;
                const float *above = g + (i * GRID + j) * WIDTH, *here = above + GRID * WIDTH;
                copy<WIDTH>(here + WIDTH, to);
                copy<WIDTH>(here, to + WIDTH);
                copy<WIDTH>(above + WIDTH, to + 2 * WIDTH);
                copy<WIDTH>(above, to + 3 * WIDTH);
            }
#if HALF
        side_by_side<INPUTS>(x, PLACES, INPUTS, INPUTS, x_pairs);
        side_by_side<ROW>(pieces, PLACES, ROW, ROW, g_pairs);
        const Operand *from = x_pairs, *by = g_pairs;
#else
        const Operand *from = x, *by = pieces;
#endif
        constexpr int STRIP = 64 / PAIR, ALL = pairs(PLACES);  // which stays in the nearest cache
        for (int i = 0; i < ALL; i += STRIP)
            outer<INPUTS, PIECES>({1, least(STRIP, ALL - i), 0, INPUTS}, from + i * INPUTS,
                                  by + i * ROW, dw);
    }
};

// -------------------------------------------------------------------------- the others

template <int IN, int OUT, int SIDE, int STEP, int COLS_IN, int ROWS_OUT, int COLS_OUT>
struct Later {
    static constexpr int DEPTH = SIDE * IN;  // inputs in a row of a kernel, side by side
    static constexpr int ROW = padded(OUT), ROW_IN = padded(DEPTH), PLACES = ROWS_OUT * COLS_OUT;
    static constexpr int ROWS_IN = STEP * (ROWS_OUT - 1) + SIDE, ACROSS = pairs(COLS_OUT);
    static constexpr ptrdiff_t RIGHT = STEP * IN, DOWN = COLS_IN * IN;
    static_assert(SIDE % STEP == 0);
    static_assert(DEPTH % PAIR == 0 && RIGHT % PAIR == 0 && OUT % PAIR == 0);
    alignas(64) Number w[SIDE][DEPTH * ROW], turned[SIDE][OUT * ROW_IN];
    alignas(64) float dw[SIDE][DEPTH * ROW], db[OUT];
    alignas(64) float sums[PLACES * ROW], tight[PLACES * OUT + SLACK];
    alignas(64) Operand g[ROWS_OUT * ACROSS * ROW + SLACK];
    alignas(64) Operand x_pairs[HALF ? ROWS_IN * ACROSS * DEPTH : 1];
    alignas(64) Number g_numbers[HALF ? PLACES * OUT : 1];

    // Of weights (OUT, SIDE, SIDE, IN).
    void load(const float *from) {
        for (int r = 0; r < SIDE; r++) {
            for (int k = 0; k < DEPTH; k++)
                for (int c = 0; c < ROW; c++)
                    w[r][(k / PAIR * ROW + c) * PAIR + k % PAIR] =
                        number(c < OUT ? from[(c * SIDE + r) * DEPTH + k] : 0);
            for (int c = 0; c < OUT; c++)
                for (int k = 0; k < ROW_IN; k++)
                    turned[r][(c / PAIR * ROW_IN + k) * PAIR + c % PAIR] =
                        number(k < DEPTH ? from[(c * SIDE + r) * DEPTH + k] : 0);
        }
    }
    void clear() {
        for (auto &row : dw)
            for (float &x : row) x = 0;
        for (float &x : db) x = 0;
    }
    void unload(float *weights, float *bias) const {
        for (int c = 0; c < OUT; c++)
            for (int r = 0; r < SIDE; r++)
                for (int k = 0; k < DEPTH; k++)
                    weights[(c * SIDE + r) * DEPTH + k] = dw[r][k * ROW + c];
        for (int c = 0; c < OUT; c++) bias[c] = db[c];
    }
    template <typename Out> void forward(const Number *x, const float *bias, Out *out) {
        for (int p = 0; p < PLACES; p++)
            for (int c = 0; c < ROW; c++) sums[p * ROW + c] = c < OUT ? bias[c] : 0;
        for (int r = 0; r < SIDE; r++)
            product<COLS_OUT, OUT>(ROWS_OUT, DEPTH, x + r * DOWN, {STEP * DOWN, RIGHT}, w[r], sums,
                                   {COLS_OUT * ROW, ROW});
        for (int p = 0; p < PLACES; p++) copy<OUT>(sums + p * ROW, tight + p * OUT);
        relu<PLACES * OUT>(tight, out);
    }
    // Add to dx what one row of kernels brings to it: at once for every BESIDE-th place of a row,
    // whose inputs do not overlap.
    template <int FROM = 0> static void spread(const Number *g, const Number *w, float *dx) {
        constexpr int BESIDE = SIDE / STEP;
        if constexpr (FROM < least(BESIDE, COLS_OUT)) {
            product<(COLS_OUT - FROM + BESIDE - 1) / BESIDE, DEPTH>(
                ROWS_OUT, OUT, g + FROM * OUT, {COLS_OUT * OUT, BESIDE * OUT}, w,
                dx + FROM * RIGHT, {STEP * DOWN, DEPTH});
            spread<FROM + 1>(g, w, dx);
        }
    }
    // dx (of the input) is added to.
    template <typename Out>
    void backward(const Number *x, const Out *out, const float *dout, float *dx) {
        masked<PLACES * OUT>(out, dout, tight);
        add_rows<OUT>(PLACES, tight, db);
#if HALF
        for (int i = 0; i < ROWS_OUT; i++)
            side_by_side<OUT>(tight + i * COLS_OUT * OUT, COLS_OUT, OUT, ROW, g + i * ACROSS * ROW);
        for (int i = 0; i < ROWS_IN; i++)
            side_by_side<DEPTH>(x + i * DOWN, COLS_OUT, RIGHT, DEPTH, x_pairs + i * ACROSS * DEPTH);
        for (int k = 0; k < PLACES * OUT; k++) g_numbers[k] = number(tight[k]);
        const Number *each = g_numbers;
        const Operand *from = x_pairs;
        constexpr ptrdiff_t down = ACROSS * DEPTH, right = DEPTH;
#else
        for (int p = 0; p < PLACES; p++) copy<OUT>(tight + p * OUT, g + p * ROW);
        const Number *each = tight;
        const Operand *from = x;
        constexpr ptrdiff_t down = DOWN, right = RIGHT;
#endif
        for (int r = 0; r < SIDE; r++)
            outer<DEPTH, OUT>({ROWS_OUT, ACROSS, STEP * down, right}, from + r * down, g, dw[r]);
        for (int r = 0; r < SIDE; r++) spread(each, turned[r], dx + r * DOWN);
    }
};

static thread_local First first;
static thread_local Later<WIDTH, TWICE, 4, 2, COLS1, ROWS2, COLS2> second;
static thread_local Later<TWICE, TWICE, 3, 1, COLS2, ROWS3, COLS3> third;
alignas(64) static thread_local float d1[SIZE1 + SLACK], d2[SIZE2 + SLACK];

// Pictures (n, ROWS, COLS, INPUTS) as floats, or as codes of one byte, signed or not.
enum Kind { FLOATS, SIGNED, UNSIGNED };
constexpr int PICTURE = ROWS * COLS * INPUTS;
alignas(64) static thread_local Number picture[PICTURE];

template <typename Code> static const Number *converted(const void *x, ptrdiff_t i) {
    const Code *codes = (const Code *)x + i * PICTURE;
    for (int k = 0; k < PICTURE; k++) picture[k] = number(codes[k]);
    return picture;
}

static const Number *picture_at(const void *x, Kind kind, ptrdiff_t i) {
    if (kind == SIGNED) return converted<signed char>(x, i);
    if (kind == UNSIGNED) return converted<unsigned char>(x, i);
    return converted<float>(x, i);
}

// Weights, and their gradients, lie channels last. y1 and y2 are what the first two layers give, of
// the whole batch if `keep`, else of one picture.

extern "C" void forward(int n, const void *x, Kind kind, float scale, const float *w1,
                        const float *b1, const float *w2, const float *b2, const float *w3,
                        const float *b3, Number *y1, Number *y2, float *y3, int keep) {
    first.load(w1, scale), second.load(w2), third.load(w3);
    for (ptrdiff_t i = 0; i < n; i++) {
        Number *mine1 = y1 + keep * i * SIZE1, *mine2 = y2 + keep * i * SIZE2;
        first.forward(picture_at(x, kind, i), b1, mine1);
        second.forward(mine1, b2, mine2);
        third.forward(mine2, b3, y3 + i * SIZE3);
    }
}

extern "C" void backward(int n, const void *x, Kind kind, float scale, const float *w2,
                         const float *w3, const Number *y1, const Number *y2, const float *y3,
                         const float *dy3, float *dw1, float *db1, float *dw2, float *db2,
                         float *dw3, float *db3) {
    second.load(w2), third.load(w3);
    first.clear(), second.clear(), third.clear();
    for (ptrdiff_t i = 0; i < n; i++) {
        for (float &value : d1) value = 0;
        for (float &value : d2) value = 0;
        third.backward(y2 + i * SIZE2, y3 + i * SIZE3, dy3 + i * SIZE3, d2);
        second.backward(y1 + i * SIZE1, y2 + i * SIZE2, d2, d1);
        first.backward(picture_at(x, kind, i), y1 + i * SIZE1, d1);
    }
    first.unload(scale, dw1, db1), second.unload(dw2, db2), third.unload(dw3, db3);
}
